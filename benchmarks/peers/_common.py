"""What the adapters share: the length of the schedule's ramps and chunked inference."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from scipy import sparse
from torch import Tensor


def ramps(n_steps: int) -> tuple[int, int]:
    """Return the steps of warm-up (100, or a tenth of a short run) and of the final decay (a fifth of the run)."""
    return min(100, n_steps // 10), n_steps // 5


def check_variant(variant: str, variants: tuple[str, ...]) -> None:
    """Refuse a variant that the library does not offer."""
    if variant not in variants:
        raise ValueError(f"variant {variant!r} is not among {variants}")


class Inference:
    """Chunked inference on top of `_infer`, which maps one chunk to its reconstruction and its codes."""

    CHUNK = 4096
    dict_size: int

    def _infer(self, x: Tensor) -> tuple[Tensor, Any]:
        raise NotImplementedError

    def _count(self, codes: Any) -> Tensor:
        return (codes != 0).sum(-1)

    def _fired(self, codes: Any) -> Tensor:
        return (codes != 0).any(0)

    def _chunks(self, x: Tensor) -> Iterator[tuple[Tensor, Any]]:
        for chunk in x.split(self.CHUNK):
            yield self._infer(chunk)

    @torch.no_grad()
    def reconstruct(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the reconstruction of each row of `x`, in the space of `x`, and its number of active latents."""
        rows = [(x_hat, self._count(codes)) for x_hat, codes in self._chunks(x)]
        return torch.cat([x_hat for x_hat, _ in rows]), torch.cat([count for _, count in rows])

    @torch.no_grad()
    def active(self, x: Tensor) -> Tensor:
        """Tell for each latent whether it fired on any row of `x`."""
        fired = torch.zeros(self.dict_size, dtype=torch.bool)
        for _, codes in self._chunks(x):
            fired |= self._fired(codes)
        return fired

    @torch.no_grad()
    def codes(self, x: Tensor) -> sparse.csr_array:
        """Return the codes of each row of `x`, `(n, dict_size)`."""
        return sparse.vstack([sparse.csr_array(codes.numpy()) for _, codes in self._chunks(x)], format="csr")

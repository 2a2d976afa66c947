"""Matryoshka BatchTopK: nested dictionaries in one."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from pydantic import Field, field_validator
from torch import Tensor

from sae_kedro.sae import BatchTopKSAE, Forward, SAEOptions


class MatryoshkaOptions(SAEOptions):
    """Options of `MatryoshkaSAE`."""

    prefixes: list[float] = Field(
        [1 / 32, 3 / 32, 7 / 32, 15 / 32, 1.0],
        min_length=1,
        description="shares of the dictionary that reconstruct on their own, rising, the last one 1",
    )

    @field_validator("prefixes")
    @classmethod
    def _rising(cls, shares: list[float]) -> list[float]:
        if shares != sorted(set(shares)) or shares[0] <= 0 or shares[-1] != 1:
            raise ValueError(f"prefixes={shares} must rise from above 0 to 1")
        return shares


class MatryoshkaSAE(BatchTopKSAE):
    """Asks every prefix of the dictionary to reconstruct alone (Bussmann et al., arXiv 2503.17547).

    One batch-wide selection is shared by all prefixes p; the loss is the mean over p of
    `|x - z[:p] W_dec[:p] - b_dec|^2`, so early latents carry what matters most and later ones refine it.
    """

    summary = "BatchTopK whose first latents are a smaller SAE of their own"
    formula = "BatchTopK codes; loss = mean over prefixes p of |x - z_{<p} W_{<p} - b_dec|^2"
    paper = "2503.17547"
    Options = MatryoshkaOptions
    options: MatryoshkaOptions

    @property
    def sizes(self) -> list[int]:
        """The number of latents in each prefix."""
        return sorted({max(1, round(share * self.dict_size)) for share in self.options.prefixes})

    def losses(self, out: Forward) -> dict[str, Tensor]:
        """Return the mean reconstruction loss of all prefixes, in place of that of the whole."""
        x_hat, errors = torch.zeros_like(out.x) + self.b_dec, []
        for first, end in pairwise([0, *self.sizes]):
            x_hat = x_hat + self.decode_scaled(out.codes.between(first, end)) - self.b_dec
            errors.append((x_hat - out.x).square().sum() / out.x.numel())
        return {"rec": torch.stack(errors).mean()}

    def prefix(self, size: int) -> MatryoshkaSAE:
        """Return the SAE made of the first `size` latents alone; its codes are the first `size` codes of this one."""
        cfg: dict[str, Any] = self.cfg | {"dict_size": size, "prefixes": [1.0]}
        part = MatryoshkaSAE(cfg)
        cut = {"W_enc": self.W_enc[:, :size], "b_enc": self.b_enc[:size], "W_dec": self.W_dec[:size]}
        part.load_state_dict(self.state_dict() | cut | {"density": self.density[:size]})
        return part.to(self.W_dec).train(self.training)

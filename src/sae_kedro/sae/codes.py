"""Codes as they are: a few entries per text, held sparse where that pays and dense where it does not."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from scipy import sparse

DENSE_ABOVE = 0.1
"""Share of entries above which dense products are faster than sparse ones (measured at 512 x 3072 on 2 CPU cores)."""


def true_positions(mask: Tensor) -> Tensor:
    """Return the positions of True in `mask`, read row by row: `nonzero`, 4 times faster where few are set.

    Eight entries are looked at as one integer first (measured at 4096 x 6144 with 0.5 % set: 9 against 35 ms).
    """
    flat = mask.contiguous().view(-1)
    if flat.numel() % 8:
        return flat.nonzero().squeeze(1)
    words = flat.view(torch.int64).nonzero().squeeze(1)
    word, byte = flat.view(-1, 8)[words].nonzero().unbind(1)
    return words[word] * 8 + byte


def spread_rows(matrix: Tensor) -> Tensor:
    """Take 64 rows or a few more, evenly spread over `matrix`."""
    return matrix[:: max(1, len(matrix) // 64)]


def _stable_order(indices: Tensor, n_values: int) -> Tensor:
    """Return `argsort(indices, stable=True)` of whole numbers from 0 to `n_values - 1`."""
    if indices.device.type == "cpu" and n_values <= 2**16:  # NumPy sorts 16-bit numbers by radix: 1.5 to 8 times faster
        return torch.from_numpy(np.argsort(indices.numpy().astype(np.uint16), kind="stable"))
    return torch.argsort(indices.int(), stable=True)


class Transposed(NamedTuple):
    """A support sorted by latent instead of by text."""

    order: Tensor
    """`(nnz,)`: position of each entry in the original, text-major order."""
    rows: Tensor
    """`(nnz,)`: the text of each entry."""
    offsets: Tensor
    """`(dict_size + 1,)`: where each latent's entries start."""


class Support:
    """Which (text, latent) entries may be non-zero or receive a gradient.

    A sparse support holds compressed rows; a dense one a mask, or nothing when every entry may be active.

    Args:
        shape: `(n, dict_size)`.
        offsets: `(n + 1,)`, where each text's entries start; None for a dense support.
        indices: `(nnz,)`, the latent of each entry, without repetition within a text; None for a dense support.
        mask: `(n, dict_size)`, what a dense support leaves room for; None for all of it.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        offsets: Tensor | None = None,
        indices: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> None:
        self.shape = shape
        self._offsets, self._indices, self._mask = offsets, indices, mask

    @property
    def is_dense(self) -> bool:
        """True when values are held as a matrix."""
        return self._indices is None

    @property
    def offsets(self) -> Tensor:
        """Where each text's entries start, `(n + 1,)`; sparse supports only."""
        assert self._offsets is not None
        return self._offsets

    @property
    def indices(self) -> Tensor:
        """The latent of each entry, `(nnz,)`; sparse supports only."""
        assert self._indices is not None
        return self._indices

    @classmethod
    def dense(cls, like: Tensor) -> Support:
        """The support of every entry of `like` `(n, dict_size)`."""
        return cls((like.shape[0], like.shape[1]))

    @classmethod
    def from_indices(cls, indices: Tensor, dict_size: int) -> Support:
        """A support of `k` latents per text, from indices `(n, k)` without repetition in a row."""
        n, k = indices.shape
        return cls((n, dict_size), torch.arange(0, n * k + 1, k, device=indices.device), indices.reshape(-1))

    @classmethod
    def from_mask(cls, mask: Tensor, dense_above: float | None = None) -> Support:
        """A support from a boolean mask `(n, dict_size)`; dense when more than a share `dense_above` of it is set.

        The share is read off 64 rows or a few more: counting all of them takes as long as finding them.
        """
        sample = spread_rows(mask)
        limit = DENSE_ABOVE if dense_above is None else dense_above
        if int(sample.count_nonzero()) > limit * sample.numel():
            return cls((mask.shape[0], mask.shape[1]), mask=mask)
        return cls.from_positions(true_positions(mask), (mask.shape[0], mask.shape[1]))

    @classmethod
    def from_positions(cls, positions: Tensor, shape: tuple[int, int]) -> Support:
        """A support from ascending positions `(nnz,)` in a matrix of `shape` read row by row."""
        rows = positions.div(shape[1], rounding_mode="floor")
        offsets = torch.zeros(shape[0] + 1, dtype=torch.long, device=positions.device)
        torch.cumsum(torch.bincount(rows, minlength=shape[0]), dim=0, out=offsets[1:])
        return cls(shape, offsets, positions - rows * shape[1])

    def clip(self, values: Tensor) -> Tensor:
        """Set values outside the support to 0; only a dense support has any."""
        return values if self._mask is None else values * self._mask

    @property
    def cols(self) -> Tensor | slice:
        """The latent of each entry, to index a per-latent tensor `(dict_size,)` so that it broadcasts with values."""
        return slice(None) if self._indices is None else self._indices

    @cached_property
    def rows(self) -> Tensor:
        """The text of each entry `(nnz,)`; sparse supports only."""
        return torch.repeat_interleave(torch.arange(self.shape[0], device=self.offsets.device), self.offsets.diff())

    @cached_property
    def transposed(self) -> Transposed:
        """The same entries sorted by latent; computed once and shared by all gradients."""
        order = _stable_order(self.indices, self.shape[1])
        offsets = torch.zeros(self.shape[1] + 1, dtype=torch.long, device=self.indices.device)
        torch.cumsum(torch.bincount(self.indices, minlength=self.shape[1]), dim=0, out=offsets[1:])
        return Transposed(order, self.rows[order], offsets)

    def gather(self, dense: Tensor) -> Tensor:
        """Pick the entries of `dense` `(n, dict_size)`: `(nnz,)`, or `dense` itself when dense."""
        return dense if self.is_dense else dense.view(-1)[self.rows * self.shape[1] + self.indices]

    def restrict(self, keep: Tensor) -> Support:
        """Keep only the entries marked in `keep` `(nnz,)`; sparse supports only."""
        counts = torch.bincount(self.rows[keep], minlength=self.shape[0])
        offsets = torch.zeros(self.shape[0] + 1, dtype=torch.long, device=keep.device)
        torch.cumsum(counts, dim=0, out=offsets[1:])
        return Support(self.shape, offsets, self.indices[keep])


class Codes(NamedTuple):
    """The codes of `n` texts. Entries of the support may still be zero; active means `values != 0`."""

    support: Support
    values: Tensor
    """`(nnz,)` for a sparse support, `(n, dict_size)` for a dense one; any sign."""

    @property
    def n(self) -> int:
        """Number of texts."""
        return self.support.shape[0]

    def to_dense(self) -> Tensor:
        """Return the codes as `(n, dict_size)`."""
        if self.support.is_dense:
            return self.values
        out = self.values.new_zeros(self.support.shape[0] * self.support.shape[1])
        return out.index_put((self.support.rows * self.support.shape[1] + self.support.indices,), self.values).view(
            self.support.shape
        )

    def to_csr(self) -> sparse.csr_array:
        """Return the codes as a SciPy CSR array `(n, dict_size)`, float32, without stored zeros."""
        from scipy import sparse

        values = self.values.detach().float().cpu().numpy()
        if self.support.is_dense:
            return sparse.csr_array(values)
        places = (self.support.indices.int().cpu().numpy(), self.support.offsets.int().cpu().numpy())
        matrix = sparse.csr_array((values, *places), shape=self.support.shape)
        matrix.eliminate_zeros()
        return matrix

    def l0(self) -> Tensor:
        """Return the number of active latents of each text `(n,)`."""
        active = self.values.detach() != 0
        if self.support.is_dense:
            return active.sum(dim=1)
        return torch.bincount(self.support.rows[active], minlength=self.n)

    def firing_counts(self) -> Tensor:
        """Return how many texts each latent is active on `(dict_size,)`."""
        active = self.values.detach() != 0
        if self.support.is_dense:
            return active.sum(dim=0)
        return torch.bincount(self.support.indices[active], minlength=self.support.shape[1])

    def between(self, first: int, end: int) -> Codes:
        """Keep only latents `first` to `end - 1`, in a dictionary of the same size."""
        if self.support.is_dense:
            kept = torch.zeros_like(self.values)
            kept[:, first:end] = self.values[:, first:end]
            return Codes(self.support, kept)
        keep = (self.support.indices >= first) & (self.support.indices < end)
        return Codes(self.support.restrict(keep), self.values[keep])

    def largest(self, k: int) -> Codes:
        """Keep the `k` codes of largest magnitude of each text."""
        dense = self.to_dense()
        indices = dense.abs().topk(min(k, dense.shape[1]), dim=1).indices
        support = Support.from_indices(indices, dense.shape[1])
        return Codes(support, support.gather(dense))

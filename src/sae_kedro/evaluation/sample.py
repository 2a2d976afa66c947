"""A fixed sample of a stream of embeddings."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


class RowSample:
    """A uniform sample of at most `size` rows, in the order of the stream; how rows are batched does not matter.

    Each row draws a random number, and those with the smallest are kept.

    Args:
        size: Rows to keep.
        seed: Seed of the random numbers.
    """

    def __init__(self, size: int, seed: int = 0) -> None:
        self.size = size
        self._rng = np.random.default_rng(seed)
        self._keys = np.empty(0)
        self._parts: list[Tensor] = []

    def update(self, rows: Tensor) -> None:
        """Show the next rows `(n, act_size)` of the stream."""
        self._keys = np.concatenate([self._keys, self._rng.random(len(rows))])
        self._parts.append(rows)
        if len(self._keys) > 2 * self.size:
            self._prune()

    def rows(self) -> Tensor:
        """Return the sample."""
        self._prune()
        return self._parts[0]

    def _prune(self) -> None:
        keep = np.sort(np.argsort(self._keys, kind="stable")[: self.size])
        rows = torch.cat(self._parts)
        self._keys, self._parts = self._keys[keep], [rows[torch.from_numpy(keep).to(rows.device)]]

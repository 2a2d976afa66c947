"""The scale in which SAEs work: embeddings without their mean, of mean squared norm `act_size`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sae_kedro.errors import InputError

STANDARDISE_EPS = 1e-5


class RowStats(NamedTuple):
    """Mean and standard deviation of each text's embedding, which `input_unit_norm` removes."""

    mean: Tensor
    std: Tensor


class InputScaling(nn.Module):
    """Centres and scales embeddings, and undoes it.

    Args:
        act_size: Size of the embeddings.
        input_unit_norm: Whether each embedding is standardised by its own mean and deviation first.

    Attributes:
        mean: `(act_size,)`, subtracted from the (standardised) embeddings.
        train_mean: `(act_size,)`, mean of the training embeddings before any scaling: the baseline of FVU.
        scale: Scalar that brings the mean squared norm of centred embeddings to `act_size`.
    """

    mean: Tensor
    scale: Tensor
    train_mean: Tensor

    def __init__(self, act_size: int, input_unit_norm: bool) -> None:
        super().__init__()
        self.act_size, self.input_unit_norm = act_size, input_unit_norm
        if input_unit_norm and act_size == 1:
            raise InputError("input_unit_norm=True leaves nothing of embeddings of act_size=1; set it to False")
        self.register_buffer("mean", torch.zeros(act_size))
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("train_mean", torch.zeros(act_size))

    @torch.no_grad()
    def fit_input_scaling(self, batches: Iterable[Tensor]) -> int:
        """Set `mean` and `scale` from one pass over the training embeddings, accumulated in float64.

        Returns:
            The number of rows seen.

        Raises:
            InputError: There are no rows, or all are the same.
        """
        n, total, squares = 0, torch.zeros(self.act_size, dtype=torch.float64), 0.0
        raw_total = torch.zeros_like(total)
        shift: Tensor | None = None  # the first row, so that squares do not cancel
        for batch in batches:
            rows = (self._standardise(batch)[0] if self.input_unit_norm else batch).double().cpu()
            shift = rows[0].clone() if shift is None else shift
            n += len(rows)
            raw_total += batch.double().cpu().sum(dim=0)
            total += (rows - shift).sum(dim=0)
            squares += float((rows - shift).square().sum())
        if n == 0 or shift is None:
            raise InputError("there are no training texts; lower eval_fraction or raise num_examples")
        scale = (max(0.0, squares / n - float((total / n).square().sum())) / self.act_size) ** 0.5
        if scale < 1e-12 + 1e-6 * float(shift.norm()) / self.act_size**0.5:
            raise InputError(f"all {n} training embeddings are the same; an SAE needs texts that differ")
        self.mean.copy_(shift + total / n)
        self.train_mean.copy_(raw_total / n)
        self.scale.fill_(scale)
        return n

    def normalise(self, x: Tensor) -> tuple[Tensor, RowStats | None]:
        """Scale embeddings `(n, act_size)`: centred, mean squared norm `act_size`; per-text statistics if removed.

        Raises:
            InputError: The embeddings have another shape.
        """
        x = torch.as_tensor(x).to(self.mean)
        if x.ndim != 2 or x.shape[1] != self.act_size:
            raise InputError(f"embeddings must have the shape (n, {self.act_size}); these have {tuple(x.shape)}")
        rows, stats = self._standardise(x) if self.input_unit_norm else (x, None)
        return (rows - self.mean) / self.scale, stats

    def denormalise(self, x: Tensor, stats: RowStats | None) -> Tensor:
        """Undo `normalise`."""
        rows = x * self.scale + self.mean
        return rows if stats is None else rows * (stats.std + STANDARDISE_EPS) + stats.mean

    def _standardise(self, x: Tensor) -> tuple[Tensor, RowStats]:
        stats = RowStats(x.mean(dim=1, keepdim=True), x.std(dim=1, keepdim=True))
        return (x - stats.mean) / (stats.std + STANDARDISE_EPS), stats

"""Pre-activations that matter, found through a product in 8-bit integers and then computed in float32.

Where a processor multiplies bytes, that product takes a quarter of the float32 one, and the chunk it is made in never
leaves the cache. Rounding moves a score by a known amount at most (`Int8Product.margin`), so whatever could belong to
the selection is kept, computed exactly and selected from: the result is the one of the float32 product.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor

from sae_kedro.sae import ops
from sae_kedro.sae.codes import DENSE_ABOVE, Support, spread_rows, true_positions
from sae_kedro.sae.selection import level_of_sample

CHUNK_SCORES = 512 * 6144
"""Scores per product, 12 MB that stay in the cache (measured for 4,096 rows: 16 ms, against 44 in one go)."""
SMALLEST = 2**24
"""Pre-activations from which on screening is faster (measured: 1.2 times at 4096 x 6144, nothing at 1024 x 6144)."""
SAFE_DEVIATIONS = 5.0
"""Standard deviations of the rounding error that a score is allowed: one row in ten million might see a larger one."""
LEVELS = 127
SMALLEST_GROUP = 16
"""Scores per group from which on comparing groups first pays (measured at 6,144 latents: not for k 128)."""


def chunk_rows(dict_size: int) -> int:
    """Return how many rows are multiplied at a time."""
    return max(64, CHUNK_SCORES // dict_size)


@lru_cache(maxsize=1)
def multiplies_bytes() -> bool:
    """Tell whether this processor has instructions for products of 8-bit integers that cannot overflow."""
    found = torch.cpu.get_capabilities()
    return any(found.get(name) for name in ("avx512_vnni", "avx_vnni", "amx_int8"))


class Int8Product:
    """Pre-activations `x @ W_enc + b_enc` from integers, by chunks of rows; exact where it matters.

    Args:
        x: `(n, act_size)`, float32, on a CPU.
        W_enc: `(act_size, dict_size)`, latent-major.
        b_enc: `(dict_size,)`.
        workspace: `(chunk_rows(dict_size), dict_size)`, float32, to be overwritten: fresh memory costs as much as the
            product.

    Attributes:
        unit: What a score of 1 stands for.
        margin: How far a score can be from its pre-activation. The rounding errors of the two factors are independent
            and uniform over a step each, so the standard deviation of their sum is known.
    """

    def __init__(self, x: Tensor, W_enc: Tensor, b_enc: Tensor, workspace: Tensor) -> None:
        self.x, self.W_enc, self.b_enc, self._workspace = x, W_enc, b_enc, workspace
        x_reach, w_reach = (  # a tenth of the time of the norm with p = inf
            torch.maximum(part.amax(dim=0), -part.amin(dim=0)).clamp_min(1e-30) for part in (x, W_enc.t())
        )
        # what a coordinate is divided by here, it is multiplied by there: strong ones need not spoil the step of all
        balance = (x_reach / w_reach).sqrt()
        step = max(float((x_reach * w_reach).max()) ** 0.5, 1e-15) / LEVELS
        self._rows: Tensor = x * (1 / (balance * step))
        self._weights: Tensor = W_enc.t() * (balance / step)
        self.unit: float = step**2
        norms = (float(part.norm(dim=1).max()) for part in (self._rows, self._weights))
        self.margin: float = (SAFE_DEVIATIONS * math.hypot(*norms) / math.sqrt(12) + 1) * self.unit

    @staticmethod
    def pays(x: Tensor, W_enc: Tensor) -> bool:
        """Tell whether the product in integers is possible here and faster than the one in float32."""
        fits = x.device.type == "cpu" and x.dtype == W_enc.dtype == torch.float32
        return fits and len(x) * W_enc.shape[1] >= SMALLEST and multiplies_bytes()

    def largest_of_rows(self, k: int) -> tuple[Support, Tensor] | None:
        """Find the `k` largest pre-activations of each row: their support and values `(n * k,)`; None: use float32."""
        n, dict_size = self.x.shape[0], self.W_enc.shape[1]
        group = 2 ** int(math.log2(max(1, dict_size // (8 * k))))
        if group < SMALLEST_GROUP or dict_size % group:
            return None
        bias, reach = self._in_units(self.b_enc), 2 * self.margin / self.unit

        def near_the_largest(scores: Tensor) -> Tensor:
            maxima = scores.add_(bias).view(len(scores), group, -1).amax(dim=1)
            # k groups have a score this large, so the k-th pre-activation is at most a margin below, its score two
            return scores >= maxima.topk(k, dim=1, sorted=False).values.amin(dim=1, keepdim=True) - reach

        found = self._where(near_the_largest)
        if found is None:
            return None
        support, values = found
        places = torch.arange(len(values)) - support.offsets[support.rows]
        table = values.new_full((n, int(support.offsets.diff().max())), -torch.inf)
        table[support.rows, places] = values
        best = table.topk(k, dim=1, sorted=False)
        indices = support.indices[support.offsets[:-1].unsqueeze(1) + best.indices]
        return Support.from_indices(indices, dict_size), best.values.view(-1)

    def largest_of_batch(self, n: int) -> tuple[Support, Tensor] | None:
        """Find the `n` largest positive pre-activations of the batch and their values `(n,)`; None: use float32."""
        sample = torch.addmm(self.b_enc, spread_rows(self.x), self.W_enc)
        level = level_of_sample(sample, n / len(self.x))
        found = self.above(level)
        if found is None or int((found[1] > level).sum()) < n:
            return None
        support, values = found
        keep = torch.zeros(len(values), dtype=torch.bool)
        keep[values.topk(n, sorted=False).indices] = True
        return support.restrict(keep), values[keep]

    def above(self, levels: Tensor) -> tuple[Support, Tensor] | None:
        """Find the pre-activations above `levels`, `()` or `(dict_size,)`, and a few that are a little below them.

        Returns:
            Their support and values `(nnz,)`; None when they are so many that the dense product is faster, or not
            finite.
        """
        lowest = self._in_units(levels - self.b_enc - self.margin)
        return self._where(lambda scores: scores > lowest)

    def _where(self, chosen: Callable[[Tensor], Tensor]) -> tuple[Support, Tensor] | None:
        """Compute the pre-activations that `chosen` marks in scores `(rows, dict_size)`, which lack the bias."""
        if not math.isfinite(self.margin):
            return None
        shape = (self.x.shape[0], self.W_enc.shape[1])
        weights = self._weights.round().to(torch.int8).t()
        buffer, size = self._workspace.view(torch.int32), len(self._workspace)
        n_found, parts = 0, []
        for start in range(0, len(self.x), size):
            rows = self._rows[start : start + size].round().to(torch.int8)
            positions = true_positions(chosen(torch._int_mm(rows, weights, out=buffer[: len(rows)])))
            parts.append(positions + start * shape[1])
            n_found += len(positions)
            if n_found > DENSE_ABOVE * shape[0] * shape[1]:
                return None
        support = Support.from_positions(torch.cat(parts), shape)
        return support, ops.gathered_dots(support, self.x, self.W_enc.t()) + self.b_enc[support.indices]

    def _in_units(self, values: Tensor) -> Tensor:
        return (values / self.unit).clamp(-(2.0**30), 2.0**30).floor().to(torch.int32)

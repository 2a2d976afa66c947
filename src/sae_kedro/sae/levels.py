"""Levels that exactly so many scores exceed."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor


def exact_level(candidates: Iterable[Tensor], n_above: int) -> float:
    """Find the level that exactly `n_above` of all candidates exceed, in memory that grows with `n_above` alone.

    Args:
        candidates: Any number of 1-d tensors of scores.
        n_above: How many scores shall lie above the level.

    Returns:
        The middle between the last score above and the first one below, so that `>` and `>=` agree; minus infinity
        if there are no more than `n_above` candidates.
    """
    kept = torch.empty(0)
    for scores in candidates:
        kept = torch.cat([kept.to(scores), scores])
        if len(kept) > n_above + 1:
            kept = kept.topk(n_above + 1).values
    if len(kept) <= n_above:
        return -math.inf
    lowest = kept.double().topk(min(2, len(kept)), largest=False).values
    return float(lowest.mean()) if n_above else float(lowest[0])

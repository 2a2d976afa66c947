"""Learning-rate schedule."""

from __future__ import annotations

import math

SHORT_RUN = 1200
"""Runs of fewer steps learn faster (benchmarks/RECIPE.md)."""
MOST_FASTER = 1.5
"""By how much at most: at twice the rate, latents of large dictionaries fall silent."""


def short_run_factor(n_steps: int) -> float:
    """Return by how much directions learn faster in a run of `n_steps`: Adam has fewer steps to go the same way."""
    return min(MOST_FASTER, max(1.0, math.sqrt(SHORT_RUN / n_steps)))


def lr_factor(step: int, n_steps: int, warmup: float, decay: float) -> float:
    """Return the share of the peak rate to use at a step: linear rise, plateau, linear fall to 0.

    Args:
        step: From 0 to `n_steps - 1`.
        n_steps: Steps of the whole run.
        warmup: Share of steps over which the rate rises.
        decay: Share of steps, at the end, over which it falls.
    """
    rise = (step + 1) / max(1.0, warmup * n_steps)
    fall = (n_steps - step) / max(1.0, decay * n_steps)
    return min(1.0, rise, fall)

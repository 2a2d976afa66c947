"""95 % confidence intervals by the percentile bootstrap over texts (Efron and Tibshirani 1993, chapter 13)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 1000
PERCENTILES = (2.5, 97.5)

Floats = NDArray[np.float64]


def ratio_intervals(
    sums: Mapping[str, tuple[Floats, Floats]], n_resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, list[float]]:
    """Find the intervals of ratios of sums over the same texts, all from the same resamples.

    Resampling a text moves its numerator and its denominator together, and a sum over resampled texts is a product
    with how often each was drawn: nothing is measured a second time.

    Args:
        sums: By name, numerators and denominators `(n,)`, one per text; a mean has denominators of 1.
        n_resamples: How often `n` texts are drawn with replacement.
        seed: Seed of the draws.

    Returns:
        `[low, high]` by name; not a number where a resample has a denominator of 0 or there is no text.
    """
    if not sums:
        return {}
    columns = np.stack([column for pair in sums.values() for column in pair], axis=1).astype(np.float64)
    n = len(columns)
    draws = (np.bincount(drawn, minlength=n).astype(np.float64) for drawn in _draws(n, n_resamples, seed))
    totals = np.stack([draw @ columns for draw in draws]) if n else np.full((1, columns.shape[1]), np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = totals[:, 0::2] / totals[:, 1::2]
    return {name: _interval(ratios[:, index]) for index, name in enumerate(sums)}


def mean_intervals(values: Mapping[str, Floats], n_resamples: int = RESAMPLES, seed: int = 0) -> dict[str, list[float]]:
    """Find the intervals of means of `values`, `(n,)` by name, as `ratio_intervals` does."""
    return ratio_intervals({name: (column, np.ones(len(column))) for name, column in values.items()}, n_resamples, seed)


def statistic_interval(
    statistic: Callable[[Floats, Floats], float], a: Floats, b: Floats, n_resamples: int = RESAMPLES, seed: int = 0
) -> list[float]:
    """Find the interval of any statistic of paired values, `a` and `b` both `(n,)`, computed once per resample."""
    if not len(a):
        return [np.nan, np.nan]
    return _interval(np.array([statistic(a[drawn], b[drawn]) for drawn in _draws(len(a), n_resamples, seed)]))


def weighted_interval(
    statistic: Callable[[Floats], float], n: int, n_resamples: int = RESAMPLES, seed: int = 0
) -> list[float]:
    """Find the interval of any statistic of `n` texts, computed once per resample from how often each was drawn."""
    draws = (np.bincount(drawn, minlength=n).astype(np.float64) for drawn in _draws(n, n_resamples, seed))
    return _interval(np.array([statistic(counts) for counts in draws]))


def _draws(n: int, n_resamples: int, seed: int) -> Iterator[NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    return (rng.integers(n, size=n) for _ in range(n_resamples))


def _interval(values: Floats) -> list[float]:
    return [float(bound) for bound in np.percentile(values, PERCENTILES)]


def means_with_intervals(values: dict[str, Floats]) -> dict[str, float | list[float]]:
    """Return the mean of each array under its name, and its 95 % interval under the name with `_ci95`."""
    metrics: dict[str, float | list[float]] = {}
    intervals = mean_intervals(values)
    for name, each in values.items():
        metrics[name] = float(each.mean())
        metrics[f"{name}_ci95"] = intervals[name]
    return metrics

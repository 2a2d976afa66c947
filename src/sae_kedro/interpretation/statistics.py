"""Statistics of sparse codes, all latents and groups at once: a stratified rank test, effects, false discoveries."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.special import log_ndtr, ndtr, ndtri

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Sparse = Any
"""`(n, width)`: a SciPy sparse array."""
CONFIDENT = float(ndtri(0.975))


class Association(NamedTuple):
    """How each latent goes with each column of scores; `(n_scores, dict_size)` everywhere."""

    z: Floats
    """Standard normal deviate of the same tail probability as the permutation distribution; 0 where nothing varies."""
    statistic: Floats
    """Sum over strata and rows of the rank of the code times the score, about its mean under permutation."""


class RankedCodes:
    """Ranks of codes within strata, made once for any number of tests against groups or numbers.

    Zeros share one rank, so only codes that are not 0 are ever ranked, and ranks are counted from that of the zeros:
    they are as sparse as the codes. Ranks of a stratum of N rows are divided by N + 1 (van Elteren 1960).
    """

    def __init__(self, codes: Sparse, strata: Ints) -> None:
        """Rank the codes.

        Args:
            codes: `(n, dict_size)`.
            strata: `(n,)`: the stratum of each row, from 0 without gaps.
        """
        codes = sparse.csr_array(codes, copy=True)
        codes.eliminate_zeros()
        n, width = codes.shape
        self.sizes = np.bincount(strata).astype(np.float64)
        self._to_strata = sparse.csr_array((np.ones(n), (strata, np.arange(n))), shape=(len(self.sizes), n))
        row = np.repeat(np.arange(n), np.diff(codes.indptr))
        cell = strata[row] * width + codes.indices
        scores = _ranks_from_zero(codes.data, cell, self.sizes[strata[row]], len(self.sizes) * width)
        scores /= self.sizes[strata[row]] + 1
        self._ranks = sparse.csr_array((scores, codes.indices, codes.indptr), shape=codes.shape)
        self._moments: list[Floats] = [
            np.bincount(cell, scores**power, len(self.sizes) * width).reshape(-1, width).astype(np.float64)
            for power in (1, 2, 3)
        ]

    def test(self, scores: Sparse) -> Association:
        """Test whether codes go with scores within strata, by the permutation distribution of Σ rank · score.

        Scores that are 1 for a group and 0 elsewhere give van Elteren's test, and in a single stratum that of Wilcoxon;
        ranks of a number give Spearman's. The distribution has exact mean, variance and skewness. Skewness matters:
        where a latent and a group are both rare, the normal law calls two chance hits highly significant. The tail is
        that of the gamma law with these moments, by its saddlepoint (Barndorff-Nielsen 1990), the lighter tail the
        normal one.

        Args:
            scores: `(n, n_scores)`, a sparse or a NumPy array.
        """
        scores = sparse.csr_array(scores)
        first, second, third = self._moments
        of_scores: list[Floats] = [(self._to_strata @ scores.power(power)).toarray() for power in (1, 2, 3)]
        statistic = (sparse.csr_array(scores.T) @ self._ranks).toarray() - (
            of_scores[0] / self.sizes[:, None]
        ).T @ first
        codes2, codes3 = _central(first, second, third, self.sizes)
        scores2, scores3 = _central(of_scores[0], of_scores[1], of_scores[2], self.sizes)
        n = self.sizes[:, None]
        variance = (scores2 / np.maximum(n - 1, 1)).T @ codes2
        skewed = (scores3 * n / np.maximum((n - 1) * (n - 2), 1)).T @ codes3
        varies = variance > 1e-12 * max(float(variance.max(initial=0)), 1e-300)
        deviation = np.sqrt(np.where(varies, variance, 1))
        z = np.where(varies, statistic / deviation, 0)
        return Association(skew_corrected(z, np.where(varies, skewed / deviation**3, 0)), statistic)

    def auc(self, members: Sparse, statistic: Floats) -> Floats:
        """Turn the statistic of groups into P(a member's code is larger) + ½ P(equal), averaged over strata."""
        inside = (self._to_strata @ sparse.csr_array(members)).toarray()
        pairs = (inside * (self.sizes[:, None] - inside) / (self.sizes[:, None] + 1)).sum(axis=0)
        return np.asarray(0.5 + statistic / np.maximum(pairs, 1e-300)[:, None])


def _ranks_from_zero(values: NDArray[Any], cell: Ints, sizes: Floats, n_cells: int) -> Floats:
    """Return the midrank of each value in its cell of `sizes` rows, less the midrank of the cell's zeros."""
    level = np.unique(values, return_inverse=True)[1]
    key = cell * (int(level.max(initial=0)) + 1) + level  # one integer sorts several times faster than two columns
    order = np.argsort(key)
    key = key[order]
    starts = np.flatnonzero(np.r_[True, key[1:] != key[:-1]][: len(order)])
    lengths = np.diff(np.r_[starts, len(order)])
    counts = np.bincount(cell, minlength=n_cells)
    before = np.cumsum(counts) - counts
    midrank = np.empty(len(values))
    midrank[order] = np.repeat(starts + (lengths + 1) / 2, lengths) - before[cell[order]]
    n_zeros, n_negative = sizes - counts[cell], np.bincount(cell[values < 0], minlength=n_cells)[cell]
    return np.asarray(np.where(values > 0, midrank + n_zeros, midrank) - (n_negative + (n_zeros + 1) / 2))


def ranks_within(values: Floats, strata: Ints) -> Floats:
    """Rank numbers within strata, about a constant of each stratum, and divide by the stratum's size plus one."""
    counts = np.bincount(strata)
    sizes = counts[strata].astype(np.float64)
    return _ranks_from_zero(values, strata, sizes, len(counts)) / (sizes + 1)


def _central(first: Floats, second: Floats, third: Floats, sizes: Floats) -> tuple[Floats, Floats]:
    """Return Σ(v - mean)² and Σ(v - mean)³ from Σv, Σv² and Σv³ of each stratum."""
    mean = first / sizes[:, None]
    return second - mean * first, third - 3 * mean * second + 2 * mean**2 * first


def skew_corrected(z: Floats, skewness: Floats) -> Floats:
    """Return the normal deviate with the tail probability of a gamma law of mean 0, variance 1 and this skewness."""
    heavy = (z * skewness > 1e-9) & (np.abs(z) > 1e-3)
    size, skew = np.abs(z), np.where(heavy, np.abs(skewness), 1)
    shape = 4 / skew**2
    excess = np.where(heavy, size * skew / 2, 1)  # x / shape - 1, where the gamma law's value is x
    root = np.sqrt(2 * shape * (excess - np.log1p(excess)))
    ratio = np.where(heavy, size, 1) / root
    corrected = root + np.log(ratio) / root
    return np.sign(z) * np.where(heavy, np.clip(corrected, 0, size), size)


def p_value(z: Floats) -> Floats:
    """Return the two-sided tail probability of normal deviates."""
    return np.asarray(2 * ndtr(-np.abs(z)))


def log10_p(z: Floats) -> Floats:
    """Return its decimal logarithm, which stays finite where the probability underflows."""
    return np.asarray((log_ndtr(-np.abs(z)) + np.log(2)) / np.log(10))


def benjamini_hochberg(p: Floats) -> Floats:
    """Return, for each test, the smallest rate of false discoveries at which it is one (1995); any shape, NaN stays."""
    flat = np.asarray(p, dtype=np.float64).ravel()
    q = np.full_like(flat, np.nan)
    tested = np.flatnonzero(~np.isnan(flat))
    order = tested[np.argsort(-flat[tested], kind="stable")]
    q[order] = np.minimum(np.minimum.accumulate(flat[order] * len(order) / np.arange(len(order), 0, -1)), 1)
    return q.reshape(np.shape(p))


class Interval(NamedTuple):
    """An estimate and its 95 % interval."""

    value: Floats
    low: Floats
    high: Floats


def rate_difference(rate_a: Floats, n_a: float, rate_b: Floats, n_b: float) -> Interval:
    """Compare two rates by their difference, with Newcombe's interval (1998, method 10)."""
    (low_a, high_a), (low_b, high_b) = _wilson(rate_a, n_a), _wilson(rate_b, n_b)
    value = rate_a - rate_b
    return Interval(
        value,
        value - np.sqrt((rate_a - low_a) ** 2 + (high_b - rate_b) ** 2),
        value + np.sqrt((high_a - rate_a) ** 2 + (rate_b - low_b) ** 2),
    )


def _wilson(rate: Floats, n: float) -> tuple[Floats, Floats]:
    square = CONFIDENT**2
    middle = (rate + square / (2 * n)) / (1 + square / n)
    half = CONFIDENT / (1 + square / n) * np.sqrt(rate * (1 - rate) / n + square / (4 * n**2))
    return middle - half, middle + half


def odds_ratio(hits_a: Floats, n_a: Floats, hits_b: Floats, n_b: Floats) -> Interval:
    """Compare odds within strata: Mantel and Haenszel's ratio, Robins, Breslow and Greenland's interval (1986).

    Where no stratum has hits of one group beside misses of the other, the ratio is 0, infinite or undefined; there the
    strata are added up and each of the four counts gets a half more.

    Args:
        hits_a: `(n_strata, n_latents)`.
        n_a: `(n_strata,)`.
        hits_b: `(n_strata, n_latents)`.
        n_b: `(n_strata,)`.
    """
    empty = ~(
        ((hits_a * (n_b[:, None] - hits_b)).sum(axis=0) > 0) & ((hits_b * (n_a[:, None] - hits_a)).sum(axis=0) > 0)
    )
    plain, pooled = _mantel_haenszel(hits_a, n_a, hits_b, n_b, 0.0), None
    if empty.any():
        summed = hits_a.sum(axis=0, keepdims=True), hits_b.sum(axis=0, keepdims=True)
        totals = n_a.sum(keepdims=True), n_b.sum(keepdims=True)
        pooled = _mantel_haenszel(summed[0], totals[0], summed[1], totals[1], 0.5)
    return plain if pooled is None else Interval(*(np.where(empty, *pair) for pair in zip(pooled, plain, strict=True)))


def _mantel_haenszel(hits_a: Floats, n_a: Floats, hits_b: Floats, n_b: Floats, more: float) -> Interval:
    a, c = hits_a + more, hits_b + more
    b, d = n_a[:, None] - hits_a + more, n_b[:, None] - hits_b + more
    n = np.maximum(a + b + c + d, 1e-300)
    agree, against, up, down = (a + d) / n, (b + c) / n, a * d / n, b * c / n
    with np.errstate(divide="ignore", invalid="ignore"):
        ups, downs = up.sum(axis=0), down.sum(axis=0)
        variance = (
            (agree * up).sum(axis=0) / (2 * ups**2)
            + (agree * down + against * up).sum(axis=0) / (2 * ups * downs)
            + (against * down).sum(axis=0) / (2 * downs**2)
        )
        log_ratio, half = np.log(ups / downs), CONFIDENT * np.sqrt(variance)
        return Interval(np.exp(log_ratio), np.exp(log_ratio - half), np.exp(log_ratio + half))

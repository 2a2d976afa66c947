"""What a reconstruction and the codes keep of the geometry of embeddings: who is close to whom."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from sae_kedro.evaluation.bootstrap import Floats, mean_intervals, weighted_interval
from sae_kedro.evaluation.representations import Matrix, Representations, cosines, dot_products, unit_rows

N_PAIRS = 20_000
"""Pairs of texts whose cosines are compared."""
N_NEIGHBOURS = 10
_ROWS = 256
_PAIRS = 4096


def geometry(texts: Representations, seed: int = 0) -> dict[str, Any]:
    """Compare reconstructions and codes with the embeddings they come from.

    Texts with equal embeddings count once: a copy would be the nearest neighbour in every space.

    Args:
        texts: A sample of texts; the cost grows with its square.
        seed: Seed of the pairs and of the bootstrap.

    Returns:
        For both, `similarity_kept_*`, from three texts on; and `neighbours_kept_*`, where a text has more others than
        neighbours. Each with its interval.
    """
    distinct = np.sort(np.unique(texts.original, axis=0, return_index=True)[1])
    if len(distinct) < 3:
        return {}
    texts, pairs = texts.take(distinct), sample_pairs(len(distinct), N_PAIRS, seed)
    metrics: dict[str, Any] = {}
    for name in ("reconstruction", "codes"):
        other = getattr(texts, name)
        key = f"similarity_kept_{name}"
        metrics |= {key: similarity_kept(texts.original, other, pairs)}
        metrics[f"{key}_ci95"] = similarity_interval(texts.original, other, pairs, seed)
        if len(distinct) > N_NEIGHBOURS + 1:
            kept, key = neighbours_kept(texts.original, other), f"neighbours_kept_{name}"
            metrics |= {key: float(kept.mean()), f"{key}_ci95": mean_intervals({key: kept}, seed=seed)[key]}
    return metrics


def similarity_kept(x: Matrix, other: Matrix, pairs: NDArray[np.int64]) -> float:
    """Correlate the cosines of pairs of texts in two spaces by rank (Spearman).

    Args:
        x: `(n, width)`.
        other: `(n, other width)`, the same texts.
        pairs: `(n_pairs, 2)`, as `sample_pairs` draws them.

    Returns:
        From -1 to 1; not a number if one of the spaces gives every pair the same cosine.
    """
    a, b = _pair_cosines(x, pairs), _pair_cosines(other, pairs)
    return spearman(a, b)


def similarity_interval(x: Matrix, other: Matrix, pairs: NDArray[np.int64], seed: int = 0) -> list[float]:
    """Find the 95 % interval of `similarity_kept` over texts: a pair counts as often as both its texts were drawn.

    Args:
        x: `(n, width)`.
        other: `(n, other width)`, the same texts.
        pairs: `(n_pairs, 2)`, as `sample_pairs` draws them.
        seed: Seed of the draws.

    Returns:
        Not numbers if a resample leaves no two texts that differ.
    """
    a, b = (np.unique(_pair_cosines(space, pairs), return_inverse=True)[1] for space in (x, other))
    first, second = pairs.T

    def correlation(counts: Floats) -> float:
        return _weighted_spearman(a, b, counts[first] * counts[second])

    return weighted_interval(correlation, x.shape[0], seed=seed)


def _weighted_spearman(a: NDArray[np.int64], b: NDArray[np.int64], weights: Floats) -> float:
    """Correlate by rank values that count as often as weights say; `a` and `b` number them from the smallest on."""
    total, ranks = weights.sum(), []
    for classes in (a, b):
        sizes = np.bincount(classes, weights)
        ranks.append((np.cumsum(sizes) - sizes / 2)[classes] - total / 2)  # whose weighted mean is 0
    p, q = ranks
    with np.errstate(divide="ignore", invalid="ignore"):
        return float((weights * p * q).sum() / np.sqrt((weights * p * p).sum() * (weights * q * q).sum()))


def spearman(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Return the rank correlation of `a` and `b`, both `(n,)`; ties share their mean rank."""
    ranks = stats.rankdata(a), stats.rankdata(b)
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.corrcoef(*ranks)[0, 1])


def neighbours_kept(x: Matrix, other: Matrix, n_neighbours: int = N_NEIGHBOURS) -> NDArray[np.float64]:
    """Return, for each text, the share of its nearest neighbours by cosine in `x` that are so in `other`, too.

    Args:
        x: `(n, width)`.
        other: `(n, other width)`, the same texts.
        n_neighbours: Neighbours of each text, itself not counted; at most `n - 1`.
    """
    mine, theirs = nearest_neighbours(x, n_neighbours), nearest_neighbours(other, n_neighbours)
    shared = [len(np.intersect1d(a, b)) for a, b in zip(mine, theirs, strict=True)]
    return np.array([count / mine.shape[1] for count in shared], dtype=np.float64)


def nearest_neighbours(x: Matrix, n_neighbours: int) -> NDArray[np.int64]:
    """Find the rows with the largest cosine to each row of `x (n, width)`: `(n, n_neighbours)`, in no order."""
    x = unit_rows(x)
    n = x.shape[0]
    found = np.empty((n, min(n_neighbours, n - 1)), dtype=np.int64)
    for start in range(0, n, _ROWS):
        similarity = dot_products(x[start : start + _ROWS], x)
        rows = np.arange(len(similarity))
        similarity[rows, start + rows] = -np.inf
        found[start : start + _ROWS] = np.argpartition(-similarity, found.shape[1] - 1, axis=1)[:, : found.shape[1]]
    return found


def sample_pairs(n: int, n_pairs: int, seed: int = 0) -> NDArray[np.int64]:
    """Draw pairs of different texts `(n_pairs, 2)`; all `n (n - 1) / 2` if there are no more than that."""
    if n * (n - 1) // 2 <= n_pairs:
        return np.stack(np.triu_indices(n, k=1), axis=1)
    rng = np.random.default_rng(seed)
    first = rng.integers(n, size=n_pairs)
    return np.stack([first, (first + rng.integers(1, n, size=n_pairs)) % n], axis=1)


def _pair_cosines(x: Matrix, pairs: NDArray[np.int64]) -> NDArray[np.float64]:
    parts = (pairs[start : start + _PAIRS] for start in range(0, len(pairs), _PAIRS))
    return np.concatenate([cosines(x[part[:, 0]], x[part[:, 1]]) for part in parts])

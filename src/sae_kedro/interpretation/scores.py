"""How well a label tells the texts of its latent from others: the texts it is asked about, and the scores."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.integer[Any]]

MIN_ACTIVE = 10
"""Texts of each half on which a latent must fire to be labelled and scored."""
MOST = 200
"""Positives of a latent, at most."""
KINDS = POSITIVE, NEAR, RANDOM = range(3)
_MIXER = 2654435761  # a large prime: where a latent starts to draw follows from its strongest text, not from its place


class Examples(NamedTuple):
    """Texts that a label must tell apart: for each of `b` latents as many positives, near misses and random ones."""

    rows: NDArray[np.int64]
    """`(b, 3, MOST)`: texts on which it fires most; silent ones nearest to them; other silent ones; -1: no more."""
    n: NDArray[np.int64]
    """`(b,)`: texts of each kind; 0 for a latent with too few."""


def draw_examples(codes: sparse.csc_array, vectors: Floats, latents: Ints, share: float, order: Ints) -> Examples:
    """Choose the texts that labels of some latents are made from, or scored on.

    Args:
        codes: `(n, dict_size)`.
        vectors: `(n, act_size)`, centred, of norm 1: near misses are those nearest to the mean of the positives.
        latents: `(b,)`.
        share: Share of the texts on which a latent fires that are its positives, the strongest first.
        order: `(n,)`, a random order of the texts, from which random silent ones are drawn.
    """
    rows, n = np.full((len(latents), len(KINDS), MOST), -1), np.zeros(len(latents), dtype=np.int64)
    centres = np.zeros((len(latents), vectors.shape[1]), dtype=np.float32)
    active = [active_texts(codes, int(latent)) for latent in latents]
    for place, texts in enumerate(active):
        n[place] = _size(len(texts), codes.shape[0], share)
        rows[place, POSITIVE, : n[place]] = texts[: n[place]]
        centres[place] = vectors[texts[: n[place]]].sum(axis=0) if n[place] else 0
    closeness = centres @ vectors.T
    for place, texts in enumerate(active):
        if size := int(n[place]):
            closeness[place, texts] = -np.inf
            rows[place, NEAR, :size] = largest(closeness[place], size)
            rows[place, RANDOM, :size] = _silent(texts, order, size)
    return Examples(rows, n)


def active_texts(codes: sparse.csc_array, latent: int) -> NDArray[np.int64]:
    """List the texts on which a latent fires, the strongest first."""
    part = slice(codes.indptr[latent], codes.indptr[latent + 1])
    texts, values = codes.indices[part], codes.data[part]
    firing = values > 0
    texts, values = texts[firing], values[firing]
    return np.asarray(texts[np.lexsort((texts, -values))], dtype=np.int64)


def _size(n_active: int, n_texts: int, share: float) -> int:
    """Return how many positives there are: at least 5, and not more than there are silent texts for."""
    if n_active < MIN_ACTIVE:
        return 0
    return min(max(5, int(share * n_active)), MOST, (n_texts - n_active) // 2)


def largest(values: Floats, n: int) -> NDArray[np.int64]:
    """Return the places of the `n` largest values, the largest first, and of equal ones the first in their order.

    A stable sort of a whole vocabulary gives the same and takes ten times as long.
    """
    least = np.partition(values, -n)[-n] if n < len(values) else -np.inf
    found = np.flatnonzero(values >= least)
    return np.asarray(found[np.argsort(-values[found], kind="stable")[:n]], dtype=np.int64)


def _silent(active: Ints, order: Ints, size: int) -> NDArray[np.int64]:
    """Take the first silent texts of the order, from a place on that the strongest text decides."""
    start, length = int(active[0]) * _MIXER % len(order), size
    firing = np.zeros(len(order), dtype=bool)
    firing[active] = True
    while True:
        length = min(2 * length + 16, len(order))
        drawn = order[(start + np.arange(length)) % len(order)]
        drawn = drawn[~firing[drawn]]
        if len(drawn) >= size or length == len(order):
            return np.asarray(drawn[:size], dtype=np.int64)


class Findings(NamedTuple):
    """Where keywords are among the examples: an entry for each candidate keyword in a text."""

    latent: NDArray[np.int64]
    """`(n,)`: place of the latent among the `b`."""
    slot: NDArray[np.int64]
    """`(n,)`: place of the text among the `3 * MOST` of the latent."""
    candidate: NDArray[np.int64]
    """`(n,)`: place of the keyword among the candidates of the latent."""

    @property
    def positive(self) -> NDArray[np.bool_]:
        """Mark those in positives, `(n,)`."""
        return np.asarray(self.slot < MOST)


def find(presence: sparse.csr_array, examples: Examples, candidates: Ints) -> Findings:
    """Look for candidates `(b, m)`, places in the vocabulary, among the examples of each latent; -1 is none."""
    flat = examples.rows.reshape(len(candidates), -1)
    latent, slot = np.nonzero(flat >= 0)
    found = presence[flat[latent, slot]]
    lengths = np.diff(found.indptr)
    place = np.full((len(candidates), presence.shape[1]), -1, dtype=np.int32)
    row, column = np.nonzero(candidates >= 0)
    place[row, candidates[row, column]] = column
    latent, slot = np.repeat(latent, lengths), np.repeat(slot, lengths)
    candidate = place[latent, found.indices]
    known = candidate >= 0
    return Findings(latent[known], slot[known], candidate[known].astype(np.int64))


def totals(findings: Findings, weights: Ints) -> NDArray[np.int64]:
    """Add up the weights `(b, m)` of the keywords in each text: `(b, 3, MOST)`."""
    b, width = len(weights), len(KINDS) * MOST
    sums = np.bincount(
        findings.latent * width + findings.slot,
        weights[findings.latent, findings.candidate],
        minlength=b * width,
    )
    return sums.astype(np.int64).reshape(b, len(KINDS), MOST)


def histograms(sums: Ints, n: Ints, bins: int) -> tuple[Floats, Floats]:
    """Count how many positives, and how many negatives, have which sum: twice `(b, bins)`."""
    b = len(sums)
    there = np.arange(sums.shape[-1]) < n[:, None]
    at = sums + (np.arange(b) * bins)[:, None, None]
    counts = [np.bincount(at[:, kind][there], minlength=b * bins).reshape(b, bins).astype(float) for kind in KINDS]
    return counts[POSITIVE], counts[NEAR] + counts[RANDOM]


def auroc(positive: Floats, negative: Floats) -> Floats:
    """Return the probability that a positive has the larger sum, ties half: `(...,)` from counts `(..., bins)`.

    NaN where there is no positive, or no negative.
    """
    below = np.cumsum(negative, axis=-1) - negative / 2
    pairs = positive.sum(axis=-1) * negative.sum(axis=-1)
    return np.asarray(
        np.divide((positive * below).sum(axis=-1), pairs, out=np.full(pairs.shape, np.nan), where=pairs > 0)
    )


def annotate(presence: sparse.csr_array, places: Ints, weights: Ints) -> NDArray[np.int32]:
    """Add up, for each text, the weights of each latent's keywords that it has: `(n, b)`.

    Args:
        presence: `(n, n_words)`.
        places: `(b, k)`: keywords, as places in the vocabulary; -1 is none.
        weights: `(b, k)`.
    """
    latent, column = np.nonzero((places >= 0) & (weights > 0))
    keywords = sparse.csr_array(
        (weights[latent, column].astype(np.int32), (places[latent, column], latent)),
        shape=(presence.shape[1], len(places)),
    )
    return np.asarray((presence @ keywords).toarray(), dtype=np.int32)


def chance_above(positive: Floats | Ints, negative: Floats | Ints) -> Floats:
    """Return, for each positive, the share of negatives below it, ties half: `(n,)`. Their mean is the AUROC."""
    ordered = np.sort(negative)
    below = np.searchsorted(ordered, positive, "left") + np.searchsorted(ordered, positive, "right")
    return np.asarray(below / (2 * len(negative)))


def auroc_interval(score: Floats, n_positive: Floats, n_negative: Floats) -> tuple[Floats, Floats]:
    """Return the ends of 95 % intervals of AUROCs, `(n,)` each; also a perfect score of few texts has a wide one.

    An end is the true AUROC at which the measured one lies 1.96 standard errors away, with the variance at that true
    AUROC (Newcombe, Statistics in Medicine 25, 2006, method 5).
    """
    ends = []
    for limit in (0.0, 1.0):  # halve the way from the score to the limit
        inner, outer = score.copy(), np.where(np.isfinite(score), limit, np.nan)
        for _ in range(40):
            middle = (inner + outer) / 2
            uneven = (1 - middle) / (2 - middle) + middle / (1 + middle)
            size = 1 + ((n_positive + n_negative) / 2 - 1) * uneven
            inside = (score - middle) ** 2 <= 1.96**2 * middle * (1 - middle) * size / (n_positive * n_negative)
            inner, outer = np.where(inside, middle, inner), np.where(inside, outer, middle)
        ends.append(inner)
    return ends[0], ends[1]


class Hits(NamedTuple):
    """What it is worth to say "the latent fires" where a text has one of the keywords."""

    precision: float
    """Among as many positives as near misses and random texts, each; NaN if no text has one."""
    recall: float
    f1: float
    precision_at_density: float
    """Precision if positives were as rare as they are, among random texts."""


def hits(sums: Ints, density: float) -> Hits:
    """Score keywords as an annotator that answers yes or no, from the sums `(3, n)` of texts of each kind."""
    yes = (sums > 0).mean(axis=1).tolist()
    precision = yes[0] / sum(yes) if any(yes) else np.nan
    true, false = yes[0] * density, yes[2] * (1 - density)
    return Hits(precision, yes[0], 2 * yes[0] / (sum(yes) + 1), true / (true + false) if true + false else np.nan)

"""Keywords of latents: a short list by c-TF-IDF and decoder direction, and a choice of what tells texts apart."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from sae_kedro.interpretation.scores import MOST, POSITIVE, Examples, Findings, auroc, find, histograms, totals
from sae_kedro.interpretation.words import LONGEST_ENDING, SHORTEST_STEM, Vocabulary

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.integer[Any]]

SHORT_LIST, SHORT_LIST_BY_DIRECTION = 120, 15
"""Candidates of a latent."""
SHOWN, SCORED = 5, 15
"""Keywords that people read, and all that are chosen."""
STEPS = 2
"""Steps of a weight per unit of log odds: weights are whole numbers, so that sums of them can be counted."""
HEAVIEST = 20
BONUS = 0.03
"""AUROC that the first of the short list is ahead of its last, while keywords are chosen that people read: a guard
against chance (five keywords of titles: .852 without it, .855 with it)."""


class Ranking:
    """Activation-weighted c-TF-IDF of all words for all latents, computed for a few latents at a time.

    Args:
        presence: `(n, n_words)`: which text has which word.
        codes: `(n, dict_size)`.

    With `N = presence.T @ (codes / largest code of each latent)`, a word's score is its share of a latent's column of
    `N`, times `log(1 + mean sum of a column / sum of the word's row)`: class-based TF-IDF as in BERTopic
    (arXiv 2203.05794), with activations as weights and presence in place of counts, so that long texts do not rule.
    """

    def __init__(self, presence: sparse.csr_array, codes: sparse.csr_array) -> None:
        largest = np.maximum(codes.max(axis=0).toarray().ravel(), 1e-9)
        scaled = sparse.csr_array(
            (np.maximum(codes.data, 0) / largest[codes.indices], codes.indices, codes.indptr), codes.shape
        )
        self._words_first, self._scaled = sparse.csr_array(presence.T), sparse.csc_array(scaled)
        of_word = presence.T @ np.asarray(scaled.sum(axis=1)).ravel()
        of_latent = scaled.T @ np.asarray(presence.sum(axis=1)).ravel()
        self._rarity = np.log1p(of_latent.mean() / np.maximum(of_word, 1e-9)).astype(np.float32)

    def of(self, latents: Ints) -> Floats:
        """Return the scores `(len(latents), n_words)`."""
        mass = (self._words_first @ self._scaled[:, latents]).toarray().T
        return np.asarray(mass / np.maximum(mass.sum(axis=1, keepdims=True), 1e-9) * self._rarity)


def short_lists(scores: Floats, closeness: Floats) -> Ints:
    """List the candidates of each latent, the best by score, then those nearest to its direction.

    Args:
        scores: `(b, n_words)` by c-TF-IDF.
        closeness: `(b, n_words)`: cosine of each word and the decoder direction.

    Returns:
        `(b, m)`: places in the vocabulary, none twice.
    """
    width = scores.shape[1]
    best = _best(scores, min(SHORT_LIST, width))
    rest = closeness.copy()
    np.put_along_axis(rest, best, -np.inf, axis=1)
    return np.concatenate([best, _best(rest, min(SHORT_LIST_BY_DIRECTION, width - best.shape[1]))], axis=1)


def _best(values: Floats, n: int) -> Ints:
    if not n:
        return np.zeros((len(values), 0), dtype=np.int64)
    found = np.sort(np.argpartition(-values, n - 1, axis=1)[:, :n], axis=1)
    return np.take_along_axis(found, np.argsort(-np.take_along_axis(values, found, 1), axis=1, kind="stable"), 1)


class Chosen(NamedTuple):
    """Keywords of `b` latents."""

    places: NDArray[np.int64]
    """`(b, SCORED)`: places in the vocabulary, in the order in which they were chosen; -1: no more."""
    weights: NDArray[np.int64]
    """`(b, SCORED)`: halves of log odds; -1: none."""
    shown: NDArray[np.int64]
    """`(b, SCORED)`: what stands for it to people: the word that a part mostly is in the latent's texts."""


def choose(
    presence: sparse.csr_array,
    vocabulary: Vocabulary,
    members: sparse.csr_array,
    scores: Floats,
    candidates: Ints,
    examples: Examples,
) -> Chosen:
    """Choose keywords together: one after another, what raises the AUROC of those chosen so far the most.

    A keyword weighs what its presence adds to the log odds of a positive. Of the `SHOWN` first, none is an inflection
    of another or shares a word with it.

    Args:
        presence: `(n, n_words)`.
        vocabulary: What the columns of `presence` are.
        members: `vocabulary.words_of_parts`.
        scores: `(b, n_words)`, the scores of `Ranking`.
        candidates: `(b, m)`, from `short_lists`.
        examples: Texts that make labels.
    """
    found = find(presence, examples, candidates)
    b, m = candidates.shape
    rank = np.take_along_axis(scores, candidates, axis=1)
    bonus = BONUS * rank / np.maximum(rank.max(axis=1, keepdims=True), 1e-9)
    weights = _weights(found, examples.n, (b, m))
    shown = _shown(presence, vocabulary, members, candidates, weights, examples)
    taken, unused = np.full((b, SCORED), -1), weights > 0
    apart = unused.copy()
    total = np.zeros((b, 3, MOST), dtype=np.int64)
    each = np.arange(b)
    for step in range(SCORED):
        free, ahead = (apart, bonus) if step < SHOWN else (unused, 0)
        gain = np.where(free, _auroc_with(found, weights, total, examples.n) + ahead, -1)
        best = gain.argmax(axis=1)
        able = gain[each, best] >= 0
        taken[able, step] = best[able]
        mine = (found.candidate == best[found.latent]) & able[found.latent]
        total += totals(Findings(*(field[mine] for field in found)), weights)
        unused[each[able], best[able]] = False
        if step + 1 < SHOWN:
            apart &= unused & ~_akin(vocabulary, shown, best, apart)
    none, at = taken < 0, np.maximum(taken, 0)
    fields = [np.where(none, -1, np.take_along_axis(values, at, axis=1)) for values in (candidates, weights, shown)]
    return Chosen(*fields)


def _weights(found: Findings, n: Ints, shape: tuple[int, int]) -> NDArray[np.int64]:
    """Return the log odds that a text with the word is a positive, where two positives or more have it."""
    at = found.latent * shape[1] + found.candidate
    inside, outside = (
        np.bincount(at[where], minlength=shape[0] * shape[1]).reshape(shape).astype(float)
        for where in (found.positive, ~found.positive)
    )
    size = n[:, None]
    log_odds = np.log((inside + 0.5) / (size - inside + 0.5)) - np.log((outside + 0.5) / (2 * size - outside + 0.5))
    return np.where(inside >= 2, np.clip(np.rint(STEPS * log_odds), 0, HEAVIEST), 0).astype(np.int64)


def _auroc_with(found: Findings, weights: Ints, total: Ints, n: Ints) -> Floats:
    """Return the AUROC `(b, m)` of what was chosen so far together with each candidate."""
    b, m = weights.shape
    bins = int(total.max()) + int(weights.max(initial=0)) + 1
    positive, negative = histograms(total, n, bins)
    own = weights[found.latent, found.candidate]
    old = (found.latent * m + found.candidate) * bins + total.reshape(b, -1)[found.latent, found.slot]
    moved = [
        (
            np.bincount((old + own)[where], minlength=b * m * bins) - np.bincount(old[where], minlength=b * m * bins)
        ).reshape(b, m, bins)
        for where in (found.positive, ~found.positive)
    ]
    return auroc(positive[:, None] + moved[0], negative[:, None] + moved[1])


def _shown(
    presence: sparse.csr_array,
    vocabulary: Vocabulary,
    members: sparse.csr_array,
    candidates: Ints,
    weights: Ints,
    examples: Examples,
) -> NDArray[np.int64]:
    """Return what stands for each candidate `(b, m)`: itself, or the word that at least half of a part's texts have."""
    shown = candidates.astype(np.int64)
    is_part = vocabulary.parts[:, 0] < 0
    for latent in range(len(candidates)):
        texts = presence[examples.rows[latent, POSITIVE, : examples.n[latent]]]
        counts = np.bincount(texts.indices, minlength=presence.shape[1])
        for column in np.flatnonzero(is_part[candidates[latent]] & (weights[latent] > 0)):
            part = candidates[latent, column]
            words = members.indices[members.indptr[part] : members.indptr[part + 1]]
            if len(words) and 2 * counts[best := words[counts[words].argmax()]] >= counts[part]:
                shown[latent, column] = best
    return shown


def _akin(vocabulary: Vocabulary, shown: Ints, best: Ints, among: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Mark what may not stand beside the keyword just chosen `(b,)`, as a person would read both: `(b, m)`."""
    akin = np.zeros(shown.shape, dtype=bool)
    for latent, column in enumerate(best):
        chosen = vocabulary.names[shown[latent, column]].split()
        for other in np.flatnonzero(among[latent]):
            words = vocabulary.names[shown[latent, other]].split()
            akin[latent, other] = any(alike(a, b) for a in chosen for b in words)
    return akin


def alike(a: str, b: str) -> bool:
    """Tell whether two words look like forms of one: they begin alike, and their endings are short.

    A part, such as `geo*`, is like any word, or longer part, that it fits.
    """
    if a == b:
        return True
    if "*" in a or "*" in b:
        return _covers(a, b) or _covers(b, a)
    shared = 0
    for x, y in zip(a, b, strict=False):
        if x != y:
            break
        shared += 1
    return shared >= SHORTEST_STEM and max(len(a), len(b)) - shared <= min(LONGEST_ENDING, shared)


def _covers(part: str, other: str) -> bool:
    """Tell whether all that fits `other`, a word or a part, fits a part."""
    if part.endswith("*"):
        return not other.startswith("*") and other.rstrip("*").startswith(part[:-1])
    return part.startswith("*") and not other.endswith("*") and other.lstrip("*").endswith(part[1:])

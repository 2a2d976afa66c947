"""Labels of all latents, and their scores on texts that made none of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from sae_kedro.interpretation.halves import halves
from sae_kedro.interpretation.keywords import SCORED, SHOWN, Chosen, Ranking, choose, short_lists
from sae_kedro.interpretation.scores import (
    MIN_ACTIVE,
    NEAR,
    POSITIVE,
    RANDOM,
    active_texts,
    annotate,
    auroc_interval,
    chance_above,
    draw_examples,
    hits,
    largest,
)
from sae_kedro.interpretation.words import Tokens, Vocabulary, read_vocabulary

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.integer[Any]]
Encode = Callable[[list[str]], Floats]

BLOCK = 64
MAKING, SCORING = 0.4, 0.2
"""Share of the texts on which a latent fires, the strongest, that make its label, and that score it. Made from a fifth,
labels are worse (measured): fewer texts."""
N_WRONG = 5
"""Labels of other latents that each latent is scored with, for the floor."""
N_WORDS_OF_DIRECTION = 5
SHRINK = 3.0
"""Texts by which the mean embedding of a word's texts is drawn to 0: a word of one text is no direction."""


class Corpus(NamedTuple):
    """What labels are made of, latents in an order that follows from what they are."""

    texts: Sequence[str] | None
    """None: there are embeddings alone."""
    codes: sparse.csr_array
    """`(n, dict_size)`."""
    vectors: Floats
    """`(n, act_size)`, centred, of norm 1."""
    directions: Floats
    """`(dict_size, act_size)`, of norm 1."""


class Half(NamedTuple):
    """One half of a corpus, its texts in random order."""

    presence: sparse.csr_array
    codes: sparse.csc_array
    vectors: Floats


class Labels(NamedTuple):
    """What was found for each latent, `(dict_size,)` unless said."""

    names: list[str]
    """The vocabulary."""
    chosen: Chosen
    columns: dict[str, Any]
    """Scores by name; NaN where a latent has too few texts."""
    examined: NDArray[np.bool_]
    """Whether a latent fires on enough texts of each half."""
    direction_words: list[list[str]]
    meanings: Floats
    """`(dict_size, act_size)`, of norm 1: where the keywords point; zeros without any."""


def label_latents(corpus: Corpus, encode: Encode | None = None, tokens: Tokens | None = None) -> Labels:
    """Choose keywords of every latent on one half of a corpus and score them on the other.

    Args:
        corpus: Texts, codes, embeddings and directions. Without texts, no latent has a label.
        encode: Gives embeddings of words; without it, a word's is the mean of its texts.
        tokens: What cuts a text into words.

    Raises:
        InputError: The texts have no words.
    """
    if corpus.texts is None:
        return _none(len(corpus.directions))
    rows = halves(corpus.texts)
    vocabulary = read_vocabulary([corpus.texts[row] for row in rows.made_from], corpus.vectors[rows.made_from], tokens)
    making = _half(corpus, rows.made_from, vocabulary.presence)
    scoring = _half(corpus, rows.scored_on, vocabulary.presence_in([corpus.texts[row] for row in rows.scored_on]))
    word_vectors = _word_vectors(vocabulary, making, encode)
    chosen, direction_words = _choose_all(corpus, making, vocabulary, word_vectors)
    fires_enough = [np.diff(half.codes.indptr) >= MIN_ACTIVE for half in (making, scoring)]
    scores = _scores(corpus, making, scoring, chosen)
    examined, meanings = np.logical_and(*fires_enough), _meanings(chosen, word_vectors)
    return Labels(vocabulary.names, chosen, scores, examined, direction_words, meanings)


def _none(n_latents: int) -> Labels:
    chosen = Chosen(*(np.full((n_latents, SCORED), -1) for _ in Chosen._fields))
    nothing: list[list[str]] = [[] for _ in range(n_latents)]
    return Labels([], chosen, _empty(n_latents), np.ones(n_latents, dtype=bool), nothing, np.zeros((n_latents, 1)))


def _empty(n_latents: int) -> dict[str, Any]:
    columns: dict[str, Any] = {
        name: np.full(n_latents, np.nan)
        for name in (
            "label_auroc", "label_auroc_lo", "label_auroc_hi", "n_scored", "label_auroc_15", "floor_auroc",
            "nearest_auroc", "centroid_auroc", "precision", "recall", "f1", "precision_at_density", "cohesion",
        )
    }  # fmt: skip
    return columns | {"auroc_by_decile": [None] * n_latents}


def _half(corpus: Corpus, rows: Ints, presence: sparse.csr_array) -> Half:
    return Half(presence, sparse.csc_array(corpus.codes[rows]), corpus.vectors[rows])


def _word_vectors(vocabulary: Vocabulary, half: Half, encode: Encode | None) -> Floats:
    """Return where words point `(n_words, act_size)`; zeros for those of which that is not known."""
    if encode is None:
        texts = np.asarray(half.presence.sum(axis=0)).ravel()
        return np.asarray((half.presence.T @ half.vectors) / (texts[:, None] + SHRINK), dtype=np.float32)
    vectors = np.zeros((len(vocabulary.names), half.vectors.shape[1]), dtype=np.float32)
    known = np.flatnonzero(vocabulary.parts[:, 0] >= 0)
    vectors[known] = encode([vocabulary.names[place] for place in known])
    vectors[known] -= vectors[known].mean(axis=0)
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9))


def _meanings(chosen: Chosen, word_vectors: Floats) -> Floats:
    shown = chosen.shown[:, :SHOWN]
    sums = np.zeros((len(shown), word_vectors.shape[1]), dtype=np.float32)
    for column in shown.T:
        sums += np.where(column[:, None] >= 0, word_vectors[column], 0)
    return np.asarray(sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-9))


def _blocks(n: int) -> Iterator[NDArray[np.int64]]:
    for start in range(0, n, BLOCK):
        yield np.arange(start, min(start + BLOCK, n))


def _choose_all(
    corpus: Corpus, half: Half, vocabulary: Vocabulary, word_vectors: Floats
) -> tuple[Chosen, list[list[str]]]:
    ranking, members = Ranking(half.presence, sparse.csr_array(half.codes)), vocabulary.words_of_parts
    order, is_word = np.arange(len(half.vectors)), vocabulary.is_word
    blocks, words = [], []
    for latents in _blocks(len(corpus.directions)):
        scores, closeness = ranking.of(latents), corpus.directions[latents] @ word_vectors.T
        examples = draw_examples(half.codes, half.vectors, latents, MAKING, order)
        candidates = short_lists(scores, closeness)
        blocks.append(choose(half.presence, vocabulary, members, scores, candidates, examples))
        for row in np.where(is_word, closeness, -np.inf):
            words.append([vocabulary.names[place] for place in largest(row, N_WORDS_OF_DIRECTION)])
    return Chosen(*(np.concatenate(field) for field in zip(*blocks, strict=True))), words


def _scores(corpus: Corpus, making: Half, scoring: Half, chosen: Chosen) -> dict[str, Any]:
    n_latents, order = len(corpus.directions), np.arange(len(scoring.vectors))
    columns = _empty(n_latents)
    usual = _mean_cosine(scoring.vectors)
    labelled = np.flatnonzero(chosen.places[:, 0] >= 0)
    others = {int(latent): np.roll(labelled, -1 - place)[:N_WRONG] for place, latent in enumerate(labelled)}
    shown = np.where(np.arange(SCORED) < SHOWN, chosen.weights, -1)
    for latents in _blocks(n_latents):
        cosines = (
            corpus.directions[latents] @ corpus.directions[labelled].T if len(labelled) else np.zeros((len(latents), 0))
        )
        cosines[latents[:, None] == labelled] = -np.inf
        nearest = labelled[cosines.argmax(axis=1)] if len(labelled) > 1 else np.full(len(latents), -1)
        examples = draw_examples(scoring.codes, scoring.vectors, latents, SCORING, order)
        asked = np.unique(
            np.concatenate([latents, nearest[nearest >= 0], *(others.get(int(f), latents[:0]) for f in latents)])
        )
        column = {int(latent): place for place, latent in enumerate(asked)}
        sums = annotate(scoring.presence, chosen.places[asked], shown[asked])
        all_sums = annotate(scoring.presence, chosen.places[latents], chosen.weights[latents])
        for place, latent in enumerate(latents):
            n = int(examples.n[place])
            if n == 0 or chosen.places[latent, 0] < 0:
                continue
            texts = examples.rows[place, :, :n]
            negative = texts[[NEAR, RANDOM]].ravel()
            own = sums[:, column[int(latent)]]

            def auroc(values: Any, texts: Ints = texts, negative: Ints = negative) -> float:
                return float(chance_above(values[texts[POSITIVE]], values[negative]).mean())

            active = active_texts(scoring.codes, int(latent))
            found = {
                "label_auroc": auroc(own),
                "n_scored": n,
                "label_auroc_15": auroc(all_sums[:, place]),
                "floor_auroc": np.mean(
                    [auroc(sums[:, column[int(f)]]) for f in others[int(latent)] if f != latent] or [np.nan]
                ),
                "nearest_auroc": auroc(sums[:, column[int(nearest[place])]]) if nearest[place] >= 0 else np.nan,
                "centroid_auroc": _centroid_auroc(making, scoring, int(latent), texts),
                "cohesion": _mean_cosine(scoring.vectors[texts[POSITIVE]]) - usual,
                **hits(own[texts], len(active) / len(scoring.vectors))._asdict(),
            }
            for name, value in found.items():
                columns[name][latent] = value
            above = chance_above(own[active], own[negative])
            columns["auroc_by_decile"][latent] = [float(part.mean()) for part in np.array_split(above, 10)]
    columns["label_auroc_lo"], columns["label_auroc_hi"] = auroc_interval(
        columns["label_auroc"], columns["n_scored"], 2 * columns["n_scored"]
    )
    return columns


def _centroid_auroc(making: Half, scoring: Half, latent: int, texts: Ints) -> float:
    """Score, in place of a label, nearness to the mean embedding of texts of the half that makes labels."""
    active = active_texts(making.codes, latent)
    centre = making.vectors[active[: max(5, int(SCORING * len(active)))]].mean(axis=0)
    near = scoring.vectors[texts] @ centre
    return float(chance_above(near[POSITIVE], near[[NEAR, RANDOM]].ravel()).mean())


def _mean_cosine(unit: Floats) -> float:
    """Return the mean cosine of all pairs of rows, which have norm 1."""
    n, total = len(unit), unit.sum(axis=0, dtype=np.float64)
    return float((total @ total - n) / (n * (n - 1))) if n > 1 else float("nan")

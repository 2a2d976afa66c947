"""Which latents a language model labels, from which texts, and on which it grades the labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from sae_kedro.interpretation.halves import halves
from sae_kedro.interpretation.labels import BLOCK, MAKING, SCORING, Corpus
from sae_kedro.interpretation.llm.prompts import Question, Seen, label_question
from sae_kedro.interpretation.scores import NEAR, RANDOM, Examples, active_texts, draw_examples

N_STRONGEST, N_WEAKER, N_NEAR, N_RANDOM = 10, 10, 10, 5
"""Texts of each kind that a label is made from."""
N_NEIGHBOURS, N_KEYWORDS = 3, 3


class Subject(NamedTuple):
    """A latent that is to be labelled."""

    latent: int
    question: Question
    """For its label, from texts of the half that makes labels."""
    texts: list[str]
    """To be graded, of the other half: the strongest, then near misses, then random ones, as many of each."""


class _Half(NamedTuple):
    texts: list[str]
    codes: sparse.csc_array
    vectors: NDArray[np.floating[Any]]

    def examples(self, places: NDArray[np.int64], share: float) -> Examples:
        """Choose texts as for keywords: the same ones."""
        return draw_examples(self.codes, self.vectors, places, share, np.arange(len(self.texts)))


def choose_subjects(
    corpus: Corpus, texts: Sequence[str], table: pd.DataFrame, n_latents: int | None, n_texts: int
) -> Iterator[Subject]:
    """Yield the most frequent latents of those that fire on enough texts of each half.

    Args:
        corpus: From `arranged`.
        texts: Of the corpus.
        table: Features, a row per latent in the order of the corpus, by latent.
        n_latents: How many; None: all.
        n_texts: Texts of each kind to be graded, of those that keywords are scored on.
    """
    places = np.flatnonzero(table["status"].isin(["labelled", "wordless"]))
    places = places[np.argsort(-table["n_texts"].to_numpy()[places], kind="stable")][:n_latents]
    making, scoring = (
        _Half([texts[row] for row in rows], sparse.csc_array(corpus.codes[rows]), corpus.vectors[rows])
        for rows in halves(texts)
    )
    for start in range(0, len(places), BLOCK):
        block = places[start : start + BLOCK]
        seen, asked = making.examples(block, MAKING), scoring.examples(block, SCORING)
        for number, place in enumerate(block):
            nearest = table["keywords"].reindex(table["nearest"].iloc[place]).dropna()[:N_NEIGHBOURS]
            neighbours = [", ".join(keywords.split(", ")[:N_KEYWORDS]) for keywords in nearest]
            graded = asked.rows[number][:, _spread(int(asked.n[number]), n_texts)].ravel()
            yield Subject(
                int(table.index[place]),
                label_question(_seen(making, int(place), seen.rows[number]), neighbours),
                [scoring.texts[row] for row in graded],
            )


def _seen(half: _Half, place: int, examples: NDArray[np.int64]) -> Seen:
    """Choose texts of all strengths, and of silent ones those nearest to them and some others."""
    active, texts = active_texts(half.codes, place), half.texts
    weaker = active[N_STRONGEST:]
    firing = np.concatenate([active[:N_STRONGEST], weaker[_spread(len(weaker), N_WEAKER)]])
    values = half.codes[:, [place]].toarray().ravel()
    strengths = np.ceil(10 * values[firing] / values[active[0]]).astype(int)
    near, random = (
        [texts[row] for row in examples[kind, :n] if row >= 0] for kind, n in ((NEAR, N_NEAR), (RANDOM, N_RANDOM))
    )
    return Seen([(texts[row], int(value)) for row, value in zip(firing, strengths, strict=True)], near, random)


def _spread(n: int, most: int) -> NDArray[np.int64]:
    """Return at most `most` of `n` places, evenly from the first to the last."""
    return np.unique(np.linspace(0, n - 1, min(n, most)).round().astype(np.int64))

"""Labels by a language model, from texts of one half, and what they are worth on texts of the other."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xxhash
from numpy.typing import NDArray
from scipy import sparse

from sae_kedro.errors import InputError
from sae_kedro.interpretation.features import Features
from sae_kedro.interpretation.halves import halves
from sae_kedro.interpretation.interpret import arranged
from sae_kedro.interpretation.labels import BLOCK, MAKING, SCORING, Corpus
from sae_kedro.interpretation.llm.client import LanguageModel
from sae_kedro.interpretation.llm.interview import Interview
from sae_kedro.interpretation.llm.prompts import Question, Seen, grade_question, label_question
from sae_kedro.interpretation.scores import NEAR, POSITIVE, RANDOM, Examples, active_texts, chance_above, draw_examples
from sae_kedro.sae.base import SAE

logger = logging.getLogger(__name__)

Floats = NDArray[np.floating[Any]]

N_STRONGEST, N_WEAKER, N_NEAR, N_RANDOM = 10, 10, 10, 5
"""Texts of each kind that a label is made from."""
N_NEIGHBOURS = 3
TEXTS_A_QUESTION = 10
"""Texts that are graded together, at most."""
ANSWERED = 0.9
"""Share of a label's texts that must have a grade for it to have a score."""
BYTES_A_TOKEN, TOKENS_OF_AN_ANSWER = 3, 40
"""English has four bytes a token, many scripts three: an estimate that errs upwards."""


class Subject(NamedTuple):
    """A latent that is to be labelled."""

    latent: int
    question: Question
    """For its label, from texts of the half that makes labels."""
    texts: list[str]
    """To be graded, of the other half: the strongest, then near misses, then random ones, as many of each."""


def label_with_llm(
    features: Features,
    sae: SAE,
    codes: sparse.csr_array,
    texts: Sequence[str],
    vectors: Floats | None,
    model: LanguageModel,
    answers: str | Path | None = None,
    n_latents: int | None = 100,
    n_texts: int = 20,
    token_limit: int | None = None,
) -> Features:
    """Ask a language model for labels, and have it grade how well they describe texts that it has not seen for them.

    A latent for which there is no usable answer keeps its keywords. The score is that of keywords, on some of the same
    texts: the chance that a text on which the latent fires gets the higher grade than a silent one.

    Args:
        features: What `interpret` has found.
        sae: The SAE.
        codes: `(n, dict_size)`, those that `interpret` had.
        texts: `n` texts, too.
        vectors: `(n, act_size)`, too, or None.
        model: Whom to ask.
        answers: File in which usable answers are kept, so that none is asked for twice; None: none is kept.
        n_latents: Latents to label, the most frequent first; None: all that have enough texts.
        n_texts: Texts of each kind to grade; 0: labels get no score.
        token_limit: Tokens that all questions may take, by estimate; None: any number.

    Returns:
        Features whose `label`, `label_auroc` and `floor_auroc` are those of the language model where it gave a label:
        `label_source` says where, and `keywords_auroc` is what `label_auroc` was.

    Raises:
        InputError: Texts, codes, embeddings and SAE do not fit together, features have such labels already, or the
            estimate exceeds the limit; nothing was asked then.
    """
    if "label_source" in features.table:
        raise InputError("these features have labels by a language model already; pass those that interpret returns")
    features.check(sae)
    corpus, order = arranged(sae, codes, texts, vectors)
    subjects = list(_subjects(corpus, order, features.table, n_latents, n_texts))
    interview = Interview(model, None if answers is None else Path(answers))
    _estimate(interview, subjects, features.table, token_limit, model.name)
    given, problems = interview.ask([subject.question for subject in subjects], "Labels")
    labels = {subject.latent: label for subject, label in zip(subjects, given, strict=True) if label is not None}
    rounds = _rounds(subjects, labels)
    grades, unread = interview.ask([question for graded in rounds for question in graded.questions], "Grades")
    scores = pd.DataFrame({"label": labels}, dtype=object).assign(label_auroc=np.nan, floor_auroc=np.nan)
    for graded in rounds:
        scores.loc[graded.latent, graded.column] = graded.score(grades[: len(graded.questions)])
        grades = grades[len(graded.questions) :]
    _tell(model.name, len(subjects), problems, sum(len(graded.questions) for graded in rounds), unread)
    return _with_labels(features, scores, model.name, dict(sorted((problems + unread).items())))


class _Half(NamedTuple):
    texts: list[str]
    codes: sparse.csc_array
    vectors: Floats

    def examples(self, places: NDArray[np.int64], share: float) -> Examples:
        """Choose texts as for keywords: the same ones."""
        return draw_examples(self.codes, self.vectors, places, share, np.arange(len(self.texts)))


def _half(corpus: Corpus, rows: NDArray[np.int64]) -> _Half:
    return _Half([corpus.texts[row] for row in rows], sparse.csc_array(corpus.codes[rows]), corpus.vectors[rows])


def _subjects(
    corpus: Corpus, order: NDArray[np.int64], table: pd.DataFrame, n_latents: int | None, n_texts: int
) -> Iterator[Subject]:
    """Yield latents that have enough texts, the most frequent first."""
    rows = table.set_index("latent").loc[order]
    places = np.flatnonzero(rows["status"].isin(["labelled", "wordless"]))
    places = places[np.argsort(-rows["n_texts"].to_numpy()[places], kind="stable")][:n_latents]
    made_from, scored_on = halves(corpus.texts)
    making, scoring = (_half(corpus, half) for half in (made_from, scored_on))
    for start in range(0, len(places), BLOCK):
        block = places[start : start + BLOCK]
        seen, asked = making.examples(block, MAKING), scoring.examples(block, SCORING)
        for number, place in enumerate(block):
            shown = _seen(making, int(place), seen.rows[number])
            nearest = rows["keywords"].reindex(rows["nearest"].iloc[place]).dropna()[:N_NEIGHBOURS]
            graded = asked.rows[number][:, _spread(int(asked.n[number]), n_texts)].ravel()
            yield Subject(
                int(order[place]),
                label_question(shown, [", ".join(keywords.split(", ")[:3]) for keywords in nearest]),
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


class Round(NamedTuple):
    """A label to be graded on the texts of a latent: its own, or that of another latent for the floor."""

    latent: int
    column: str
    questions: list[Question]
    parts: list[NDArray[np.int64]]
    """Which of the texts each question is about."""

    def score(self, answers: Sequence[list[float] | None]) -> float:
        """Return the AUROC of the grades; NaN if too many are missing."""
        grades = np.full(sum(map(len, self.parts)), np.nan)
        for part, answer in zip(self.parts, answers, strict=True):
            grades[part] = np.nan if answer is None else answer
        there = np.isfinite(grades)
        if not len(grades) or there.mean() < ANSWERED:
            return float("nan")
        kinds = np.arange(len(grades)) * 3 // len(grades)
        return float(chance_above(grades[there & (kinds == POSITIVE)], grades[there & (kinds != POSITIVE)]).mean())


def _rounds(subjects: Sequence[Subject], labels: dict[int, str]) -> list[Round]:
    """Have each label graded on the texts of its latent, and that of the next latent with another one."""
    named = [subject for subject in subjects if subject.latent in labels]
    found = []
    for place, (latent, _, texts) in enumerate(named):
        found.append(_round(latent, "label_auroc", labels[latent], texts))
        others = (labels[other.latent] for other in (*named[place + 1 :], *named[:place]))
        wrong = next((other for other in others if other != labels[latent]), None)
        if wrong is not None:
            found.append(_round(latent, "floor_auroc", wrong, texts))
    return found


def _round(latent: int, column: str, label: str, texts: list[str]) -> Round:
    """Mix the texts of all kinds, in an order that another label changes."""
    order = np.argsort([xxhash.xxh64_intdigest(f"{label}\n{text}".encode(errors="replace")) for text in texts])
    parts = np.array_split(order, -(-len(texts) // TEXTS_A_QUESTION)) if texts else []
    return Round(latent, column, [grade_question(label, [texts[row] for row in part]) for part in parts], parts)


def _estimate(
    interview: Interview, subjects: Sequence[Subject], table: pd.DataFrame, limit: int | None, name: str
) -> None:
    """Say what is going to be asked, and refuse what costs too much; keywords stand in for labels not known yet."""
    keywords = dict(zip(table["latent"], table["keywords"].fillna(""), strict=True))
    supposed = {latent: interview.known(question) or f"{keywords[latent]} {latent}" for latent, question, _ in subjects}
    questions = [subject.question for subject in subjects]
    questions += [question for graded in _rounds(subjects, supposed) for question in graded.questions]
    left = [question for question in questions if interview.known(question) is None]
    tokens = sum(len(question.prompt.encode()) // BYTES_A_TOKEN + TOKENS_OF_AN_ANSWER for question in left)
    if limit is not None and tokens > limit:
        raise InputError(
            f"labels of {len(subjects)} latents need about {len(left):,} answers of {name}, and at most about "
            f"{tokens:,} tokens: more than llm_token_limit={limit:,}; raise it, or lower llm_latents or llm_texts"
        )
    if left:
        logger.info(
            "Asking %s for labels of %d latents: about %s answers, at most about %s tokens",
            name, len(subjects), f"{len(left):,}", f"{tokens:,}",
        )  # fmt: skip


def _tell(name: str, n_labels: int, problems: Counter[str], n_grades: int, unread: Counter[str]) -> None:
    """Say what answers could not be used, and why."""
    for what, n, counted in (("labels", n_labels, problems), ("grades", n_grades, unread)):
        if counted:
            reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(counted.items()))
            kept = "; those latents keep their keywords" if what == "labels" else ""
            logger.warning(
                "%d of %d answers of %s for %s could not be used (%s)%s; another run asks for them again",
                counted.total(), n, name, what, reasons, kept,
            )  # fmt: skip


def _with_labels(features: Features, scores: pd.DataFrame, name: str, problems: dict[str, int]) -> Features:
    table = features.table.copy()
    place = table.columns.get_loc("label")
    assert isinstance(place, int)
    by_llm = table["latent"].isin(scores.index)
    source = np.select([by_llm, table["label"].notna()], ["llm", "keywords"], "")
    table.insert(place + 1, "label_source", pd.Series(source, dtype=object).replace("", None))
    table["keywords_auroc"] = table["label_auroc"]
    for column in scores:
        table.loc[by_llm, column] = scores[column].reindex(table.loc[by_llm, "latent"]).to_numpy()
    labels = dict(zip(table["latent"], table["label"], strict=True))
    together = features.together.copy()
    for side in ("a", "b") if len(together) else ():
        named = together[f"latent_{side}"].map(labels)
        together[f"label_{side}"] = named.where(named.notna(), together[f"label_{side}"])
    told = table[by_llm]
    means = {column: told[column].mean() for column in ("label_auroc", "floor_auroc", "keywords_auroc")}
    llm = {
        "model": name,
        "n_labelled": len(told),
        **{column: None if np.isnan(mean) else float(mean) for column, mean in means.items()},
        "not_usable": problems,
    }
    return replace(features, table=table, together=together, summary=features.summary | {"llm": llm})

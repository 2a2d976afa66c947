"""Labels by a language model, from texts of one half, and what they are worth on texts of the other."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
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
from sae_kedro.interpretation.interpret import arranged
from sae_kedro.interpretation.llm.client import LanguageModel
from sae_kedro.interpretation.llm.interview import Interview
from sae_kedro.interpretation.llm.prompts import Question, grade_question
from sae_kedro.interpretation.llm.subjects import Subject, choose_subjects
from sae_kedro.interpretation.scores import POSITIVE, auroc_interval, chance_above
from sae_kedro.sae.base import SAE

logger = logging.getLogger(__name__)

Floats = NDArray[np.floating[Any]]

SCORES = ("label_auroc", "label_auroc_lo", "label_auroc_hi", "floor_auroc")
TEXTS_A_QUESTION = 10
"""Texts that are graded together, at most."""
ANSWERED = 0.9
"""Share of a label's texts that must have a grade for it to have a score."""
BYTES_A_TOKEN, TOKENS_OF_AN_ANSWER = 3, 40
"""English has four bytes a token, many scripts three: an estimate that errs upwards."""


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
    table = features.table.set_index("latent").loc[order]
    subjects = list(choose_subjects(corpus, texts, table, n_latents, n_texts))
    interview = Interview(model, None if answers is None else Path(answers))
    _estimate(interview, subjects, features.table, token_limit, model.name)
    given, problems = interview.ask([subject.question for subject in subjects], "Labels")
    labels = {subject.latent: label for subject, label in zip(subjects, given, strict=True) if label is not None}
    rounds = _rounds(subjects, labels)
    grades, unread = interview.ask([question for graded in rounds for question in graded.questions], "Grades")
    scores = {latent: {"label": label} | dict.fromkeys(SCORES, np.nan) for latent, label in labels.items()}
    for graded in rounds:
        scores[graded.latent] |= graded.scores(grades[: len(graded.questions)])
        grades = grades[len(graded.questions) :]
    _tell(model.name, len(subjects), problems, sum(len(graded.questions) for graded in rounds), unread)
    return _with_labels(features, scores, model.name, dict(sorted((problems + unread).items())))


class Round(NamedTuple):
    """A label to be graded on the texts of a latent: its own, or that of another latent for the floor."""

    latent: int
    own: bool
    questions: list[Question]
    parts: list[NDArray[np.int64]]
    """Which of the texts each question is about."""

    def scores(self, answers: Sequence[list[float] | None]) -> dict[str, float]:
        """Return the AUROC of the grades, and its interval for a label of its own; none if too many are missing."""
        grades = np.full(sum(map(len, self.parts)), np.nan)
        for part, answer in zip(self.parts, answers, strict=True):
            grades[part] = np.nan if answer is None else answer
        there = np.isfinite(grades)
        if not len(grades) or there.mean() < ANSWERED:
            return {}
        kinds = np.arange(len(grades)) * 3 // len(grades)
        positive, negative = grades[there & (kinds == POSITIVE)], grades[there & (kinds != POSITIVE)]
        score = float(chance_above(positive, negative).mean())
        if not self.own:
            return {"floor_auroc": score}
        low, high = auroc_interval(*(np.array([value]) for value in (score, len(positive), len(negative))))
        return {"label_auroc": score, "label_auroc_lo": float(low[0]), "label_auroc_hi": float(high[0])}


def _rounds(subjects: Sequence[Subject], labels: dict[int, str]) -> list[Round]:
    """Have each label graded on the texts of its latent, and that of the next latent with another one."""
    named = [subject for subject in subjects if subject.latent in labels]
    found = []
    for place, (latent, _, texts) in enumerate(named):
        found.append(_round(latent, True, labels[latent], texts))
        others = (labels[other.latent] for other in (*named[place + 1 :], *named[:place]))
        wrong = next((other for other in others if other != labels[latent]), None)
        if wrong is not None:
            found.append(_round(latent, False, wrong, texts))
    return found


def _round(latent: int, own: bool, label: str, texts: list[str]) -> Round:
    """Mix the texts of all kinds, in an order that another label changes."""
    order = np.argsort([xxhash.xxh64_intdigest(f"{label}\n{text}".encode(errors="replace")) for text in texts])
    parts = np.array_split(order, -(-len(texts) // TEXTS_A_QUESTION)) if texts else []
    return Round(latent, own, [grade_question(label, [texts[row] for row in part]) for part in parts], parts)


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


def _with_labels(
    features: Features, scores: dict[int, dict[str, Any]], name: str, problems: dict[str, int]
) -> Features:
    table = features.table.copy()
    place = table.columns.get_loc("label")
    assert isinstance(place, int)
    by_llm = table["latent"].isin(list(scores))
    source = np.select([by_llm, table["label"].notna()], ["llm", "keywords"], "")
    table.insert(place + 1, "label_source", pd.Series(source, dtype=object).replace("", None))
    table["keywords_auroc"] = table["label_auroc"]
    for column in ("label", *SCORES):
        table.loc[by_llm, column] = [scores[latent][column] for latent in table.loc[by_llm, "latent"]]
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

"""What the page of the explorer asks its server: a table of what each question needs, and a method that answers it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pydantic import Field
from torch import Tensor

from sae_kedro.activations.encoder import EmbeddingModel
from sae_kedro.corpora.base import clean_text
from sae_kedro.errors import InputError, shown
from sae_kedro.interpretation.explain import embed, explain
from sae_kedro.interpretation.features import Features
from sae_kedro.interpretation.highlights import Highlights, highlight
from sae_kedro.interpretation.neighbours import Rows, neighbours
from sae_kedro.interpretation.own_labels import add_own_label, read_own_labels
from sae_kedro.interpretation.steer import steer
from sae_kedro.sae.base import SAE
from sae_kedro.validation import Table, check_model

MOST = 100
"""Texts or latents of one answer."""


class Encode(Table):
    """Which latents fire on a text?"""

    text: str


class Explain(Table):
    """Why are two texts close? A number is a row of the corpus."""

    a: str | int
    b: str | int


class Neighbours(Table):
    """What is nearest to a text, or to a row of the corpus?"""

    text: str | None = None
    row: int | None = None
    n: int = Field(10, ge=1, le=MOST)


class Meaning(Table):
    """Which latents point where a text does?"""

    query: str
    n: int = Field(10, ge=1, le=MOST)


class Steer(Table):
    """What does a query find whose latents are turned up or down?"""

    query: str | int
    weights: dict[str, float]
    n: int = Field(10, ge=1, le=MOST)


class Label(Table):
    """Keep a label of one's own."""

    latent: int
    label: str = Field(max_length=300)
    note: str = Field("", max_length=10_000)


@dataclass
class Answers:
    """Answers questions about one SAE and one corpus, one at a time."""

    sae: SAE
    features: Features
    rows: Rows
    load_model: Callable[[], EmbeddingModel]
    """Called once, for the first text."""
    own_labels: Path
    """The file that keeps them."""
    setup: str
    """Python that makes `sae` and `store`."""

    def __post_init__(self) -> None:
        self.labels = self.features.labels | read_own_labels(self.own_labels, self.features.digest)

    @cached_property
    def model(self) -> EmbeddingModel:
        """What encodes texts."""
        return self.load_model()

    def encode(self, text: str) -> dict[str, Any]:
        """List the latents that fire on a text, the strongest first, and what each word adds to them."""
        codes = self.sae.transform(self._embedded(text))
        order = np.argsort(-np.abs(codes.data), kind="stable")
        latents = codes.indices[order].tolist()
        read = self._read(text, latents)
        return {
            "latents": latents,
            "acts": codes.data[order].tolist(),
            "words": None if read is None else {latent: read.pairs(latent) for latent in latents},
            "cut": read is not None and read.truncated,
        }

    def explain(self, a: str | int, b: str | int) -> dict[str, Any]:
        """Share the cosine of two texts out among latents."""
        return explain(self.sae, self._vector(a), self._vector(b), labels=self.labels).to_json()

    def neighbours(self, text: str | None, row: int | None, n: int) -> dict[str, Any]:
        """List the texts nearest to one, but for itself."""
        if (text is None) == (row is None):
            raise InputError("neighbours are those of a text or of a row: give one of the two")
        given = text if row is None else row
        assert given is not None
        found = neighbours(self.rows, self._vector(given), n, given)
        return {"rows": [{"row": each.number, "text": each.text, "cosine": each.cosine} for each in found]}

    def meaning(self, query: str, n: int) -> dict[str, Any]:
        """List the latents whose directions are nearest to a text."""
        found = self.features.search_by_meaning(query, self.sae, lambda texts: self._embedded(*texts).numpy(), n)
        pairs = zip(found["latent"].tolist(), found["score"].tolist(), strict=True)
        return {"latents": [{"latent": latent, "score": score} for latent, score in pairs]}

    def steer(self, query: str | int, weights: dict[str, float], n: int) -> dict[str, Any]:
        """Rank the corpus for a query before and after its latents are edited."""
        factors = {_latent(key): factor for key, factor in weights.items()}
        model = self.model if isinstance(query, str) else None
        found = steer(self.sae, self.rows, query, factors, n, model=model)
        return {
            "before": [{"row": each.number, "text": each.text, "score": each.cosine} for each in found.before],
            "after": [hit._asdict() | {"terms": _terms(hit.terms)} for hit in found.after],
            "usual": _terms(found.usual),
            "python": _PYTHON.format(self.setup, query, factors, n),
        }

    def label(self, latent: int, label: str, note: str) -> dict[str, Any]:
        """Keep an own label of a latent."""
        if not 0 <= latent < self.sae.dict_size:
            raise InputError(f"latent={shown(latent)} does not exist; latents are 0 to {self.sae.dict_size - 1}")
        add_own_label(self.own_labels, self.features.digest, latent, label, note)
        own = read_own_labels(self.own_labels, self.features.digest)
        self.labels = self.features.labels | own
        return {"saved": True}

    def _vector(self, given: str | int) -> Tensor:
        return self._embedded(given)[0] if isinstance(given, str) else self.rows[given].vector

    def _embedded(self, text: str) -> Tensor:
        return embed(self.sae, [text], self.model)

    def _read(self, text: str, latents: list[int]) -> Highlights | None:
        try:
            return highlight(self.sae, text, latents, self.model)
        except InputError:  # another kind of model, or of encoder
            return None


class Question(NamedTuple):
    """Something to ask."""

    needs: type[Table]
    answer: Callable[..., dict[str, Any]]

    def put(self, answers: Answers, given: dict[str, Any]) -> dict[str, Any]:
        """Return the answer, as JSON can hold it.

        Raises:
            InputError: Something is missing, unknown or impossible.
        """
        given = {key: clean_text(value) if isinstance(value, str) else value for key, value in given.items()}
        return self.answer(answers, **check_model(self.needs, given))


QUESTIONS = {
    "encode": Question(Encode, Answers.encode),
    "explain": Question(Explain, Answers.explain),
    "neighbours": Question(Neighbours, Answers.neighbours),
    "meaning": Question(Meaning, Answers.meaning),
    "steer": Question(Steer, Answers.steer),
    "label": Question(Label, Answers.label),
}

_PYTHON = """\
from sae_kedro import ActivationsStoreSBERT, get_experiment_cfg, load_sae
from sae_kedro.interpretation.steer import steer

{}
found = steer(sae, store, {!r}, {!r}, n={})
for hit in found.after:
    print(f"{{hit.score:.3f}}  was {{hit.rank_before}}  {{hit.text}}")
"""


def _terms(values: dict[int, float]) -> list[dict[str, Any]]:
    return [{"latent": latent, "value": value} for latent, value in values.items()]


def _latent(key: str) -> int:
    if not key.isdecimal() or len(key) > 9:
        raise InputError(f"weights are by latent, and {shown(key)} is the number of none")
    return int(key)

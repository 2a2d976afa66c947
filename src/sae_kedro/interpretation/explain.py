"""Why two texts are close: the cosine of their embeddings, shared out among latents so that it adds up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import torch

from sae_kedro.activations.encoder import EmbeddingModel, TextEncoder, load_model
from sae_kedro.corpora.base import clean_text
from sae_kedro.errors import InputError
from sae_kedro.interpretation.parts import Sum, decompose, share_out, strongest_pairs
from sae_kedro.sae.base import SAE
from sae_kedro.sae.contract import Array

Given = str | Sequence[str] | Array
"""A text, a list of texts (a group, whose mean counts), or embeddings `(act_size,)` or `(n, act_size)`."""
Kind = Literal["both", "first", "second", "query", "common", "residual"]
PAIRS = 10
"""Pairs of different latents that an explanation names."""


class Term(NamedTuple):
    """One part of an explanation."""

    kind: Kind
    """Where a latent is active: in `both`, in the `first` or in the `second` alone, or only in the `query` that the two
    are compared with; `common`: what the SAE adds to every text; `residual`: what it does not explain."""
    latent: int | None
    label: str
    value: float
    """Its share; those of all terms add up."""
    first: float | None
    """How much of a latent's direction the first contains, for a vector of norm 1."""
    second: float | None


class Pair(NamedTuple):
    """A latent of the first that meets another one of the second."""

    first: int
    second: int
    labels: tuple[str, str]
    value: float
    """What the cosine has of this pair; half of it is in the share of either latent."""


class Explanation(NamedTuple):
    """A number about texts, and what it is made of."""

    measure: str
    """What the number is: `cosine`, `mean_cosine`, `squared_distance` or `cosine_difference`."""
    value: float
    terms: list[Term]
    """Largest shares first."""
    kinds: dict[str, float]
    """The same number by what meets what: the `same` latent, `different` latents, what is `common`, the `residual`."""
    pairs: list[Pair]
    """The strongest pairs of different latents; empty for differences."""

    @property
    def sum(self) -> float:
        """All shares added up: `value`, but for rounding in float64."""
        return float(np.sum([term.value for term in self.terms]))

    def to_json(self) -> dict[str, Any]:
        """Return what JSON can hold: the number under its name, `sum`, `terms`, `kinds`, `pairs`."""
        return {
            self.measure: self.value,
            "sum": self.sum,
            "terms": [term._asdict() for term in self.terms],
            "kinds": self.kinds,
            "pairs": [pair._asdict() for pair in self.pairs],
        }


def explain(
    sae: SAE,
    a: Given,
    b: Given | None = None,
    *,
    labels: Mapping[int, str] | None = None,
    model: EmbeddingModel | None = None,
) -> Explanation:
    """Explain why two texts are close: share the cosine of their embeddings out among latents.

    With `x = sum_i a_i d_i + common + residual` and `y = sum_i c_i d_i + common + residual`, both of norm 1, a latent's
    share is `(a_i d_i . y + c_i d_i . x) / 2`. Shares add up to the cosine and are Shapley values. For groups the
    number is the mean cosine of all pairs. One text alone is compared with itself: what is it made of?

    Args:
        sae: A trained SAE.
        a: A text, or a list of texts for a group; embeddings `(act_size,)` or `(n, act_size)` where there are no texts.
        b: What to compare it with; None: itself.
        labels: What latents are called; one without a label is called `latent 17`.
        model: What encodes texts; None loads the model that the SAE was trained on.

    Raises:
        InputError: A text is empty, the model is unknown or not there, embeddings have another width than the SAE, or
            the SAE does not decode linearly.
    """
    of = _Parts(sae, model)
    u = of(a, "the first text")
    v = u if b is None else of(b, "the second text")
    found = _explanation(sae, "cosine" if of.single else "mean_cosine", (u, v), (u, v), labels)
    pairs = [] if b is None else strongest_pairs(sae, u, v, PAIRS)
    return found._replace(pairs=[Pair(i, j, (_name(i, labels), _name(j, labels)), value) for i, j, value in pairs])


def explain_difference(
    sae: SAE, a: Given, b: Given, *, labels: Mapping[int, str] | None = None, model: EmbeddingModel | None = None
) -> Explanation:
    """Explain what sets two texts, or two groups, apart: share their squared distance out among latents.

    It is `|x - y|^2 = 2 - 2 cosine` for two texts, and for groups that of their means, the squared maximum mean
    discrepancy of a linear kernel. A latent's share is `(a_i - c_i) d_i . (x - y)`. Arguments and errors are those of
    `explain`.
    """
    of = _Parts(sae, model)
    u, v = of(a, "the first text"), of(b, "the second text")
    return _explanation(sae, "squared_distance", (u - v, u - v), (u, v), labels)


def explain_ranking(
    sae: SAE,
    query: Given,
    a: Given,
    b: Given,
    *,
    labels: Mapping[int, str] | None = None,
    model: EmbeddingModel | None = None,
) -> Explanation:
    """Explain why `a` ranks above `b` for a query: share the difference of their cosines out among latents.

    A positive share speaks for `a`, a negative one for `b`. Other arguments and errors are those of `explain`.
    """
    of = _Parts(sae, model)
    q, u, v = of(query, "the query"), of(a, "the first text"), of(b, "the second text")
    return _explanation(sae, "cosine_difference", (q, u - v), (u, v), labels)


class _Parts:
    """Texts or embeddings as sums over the latents of an SAE; a model loads with the first text."""

    def __init__(self, sae: SAE, model: EmbeddingModel | None) -> None:
        self.sae, self.model, self.single = sae, model, True

    def __call__(self, given: Given, what: str) -> Sum:
        if isinstance(given, str) or (isinstance(given, Sequence) and all(isinstance(text, str) for text in given)):
            texts = [given] if isinstance(given, str) else list(given)
            self.model = self.model or model_of(self.sae)
            x = embed(self.sae, texts, self.model, what)
        else:
            x = torch.as_tensor(given)
            x = x[None] if x.ndim == 1 else x
        self.single = self.single and len(x) == 1
        return decompose(self.sae, x)


def embed(sae: SAE, texts: list[str], model: EmbeddingModel, what: str = "the text") -> torch.Tensor:
    """Encode texts for an SAE, in float32: `(n, act_size)`.

    Raises:
        InputError: A text is empty, or the model's embeddings have another width.
    """
    for text in texts:
        if not text.strip():
            raise InputError(f"{what} is empty; give one with at least a word")
    size = getattr(model, "get_embedding_dimension", lambda: sae.act_size)()
    if size != sae.act_size:
        raise InputError(
            f"the SAE takes embeddings of size {sae.act_size}, and those of the model have size {size}; give the model "
            f"that the SAE was trained on{_called(sae)}"
        )
    defaults = {"model_name": None, "model_batch_size": 2048, "max_seq_length": None}
    cfg = defaults | sae.cfg | {"dtype": "float32", "device": str(sae.W_dec.device), "act_size": size}
    return TextEncoder(cfg, model).encode([clean_text(text) for text in texts])


def model_of(sae: SAE) -> EmbeddingModel:
    """Load the model that an SAE was trained on.

    Raises:
        InputError: It is not known, or not there.
    """
    if (name := sae.cfg.get("model_name")) is None:
        raise InputError(
            "the SAE was trained on embeddings of an unknown model (model_name is null), so texts cannot be encoded "
            "for it; explain embeddings, or train it with model_name set"
        )
    model: EmbeddingModel = load_model(str(name), str(sae.W_dec.device))
    return model


def _called(sae: SAE) -> str:
    name = sae.cfg.get("model_name")
    return f", {name}" if name else ""


def _explanation(
    sae: SAE, measure: str, factors: tuple[Sum, Sum], compared: tuple[Sum, Sum], labels: Mapping[int, str] | None
) -> Explanation:
    u, v = compared
    shares = share_out(sae, *factors)
    terms = [
        Term(_kind(u, v, i), i, _name(i, labels), value, float(u.weights[i]), float(v.weights[i]))
        for i, value in zip(shares.latents.tolist(), shares.values.tolist(), strict=True)
    ]
    terms.append(Term("common", None, "what all texts share", shares.common, None, None))
    terms.append(Term("residual", None, "not explained by the SAE", shares.residual, None, None))
    terms.sort(key=lambda term: -abs(term.value))
    return Explanation(measure, float(factors[0].total @ factors[1].total), terms, shares.kinds, [])


def _kind(u: Sum, v: Sum, latent: int) -> Kind:
    kinds: dict[tuple[bool, bool], Kind] = {
        (True, True): "both",
        (True, False): "first",
        (False, True): "second",
        (False, False): "query",
    }
    return kinds[bool(u.weights[latent]), bool(v.weights[latent])]


def _name(latent: int, labels: Mapping[int, str] | None) -> str:
    return (labels or {}).get(latent, f"latent {latent}")

"""Search with a query whose latents are turned up or down, and what that changes in the order of what is found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch

from sae_kedro.activations.encoder import EmbeddingModel
from sae_kedro.activations.store import ActivationsStoreSBERT
from sae_kedro.errors import InputError, shown
from sae_kedro.interpretation.explain import embed, model_of
from sae_kedro.interpretation.neighbours import Cosines, Row, Rows
from sae_kedro.interpretation.parts import Sum, Vector, decompose, directions
from sae_kedro.sae.base import SAE


class Hit(NamedTuple):
    """A text that was found with the edited query."""

    row: int
    """Its place in the embedding cache, from 0."""
    text: str | None
    score: float
    """The cosine of its embedding with the edited query."""
    rank_before: int
    """Its place among all texts, from 1, for the query as it was."""
    terms: dict[int, float]
    """What each edited latent adds to the cosine: together, what the edit changed."""


class Steering(NamedTuple):
    """What a query finds, before and after an edit of its latents."""

    before: list[Row]
    after: list[Hit]
    usual: dict[int, float]
    """What each edited latent adds to the cosines of `before`, on average: a text that has more of it moves up."""


class Edit(NamedTuple):
    """A query whose latents were edited: `length * after = before + all changes`."""

    before: Vector
    """`(act_size,)`, of norm 1."""
    after: Vector
    """The same with the changes, of norm 1."""
    length: float
    changes: dict[int, Vector]
    """By latent."""

    def terms(self, vector: Vector) -> dict[int, float]:
        """Share out among the edited latents how much nearer a text has come to the query; the shares add up.

        Back at norm 1, everything that the query has is shorter than it was, to which each latent adds its part. Both
        together are `change . (y - cosine * m) / length`, where `m` is a mean of the query before and after: how far a
        latent points to the text beyond what any text as near to the query has of it.

        Args:
            vector: `(act_size,)`, the embedding of the text.
        """
        y = vector / np.linalg.norm(vector)
        middle = (self.before + self.length * self.after) / (1 + self.length)
        rest = (y - (self.before @ y) * middle) / self.length
        return {latent: float(change @ rest) for latent, change in self.changes.items()}


def steer(
    sae: SAE,
    corpus: ActivationsStoreSBERT | Rows,
    query: str | int,
    factors: Mapping[int, float],
    n: int = 10,
    *,
    model: EmbeddingModel | None = None,
) -> Steering:
    """Search a corpus with a query whose latents are turned up or down.

    What the SAE does not explain of the query, and what all texts share, stays. The query is then brought back to
    norm 1, and texts are ranked by their cosine with it.

    Args:
        sae: A trained SAE that decodes linearly.
        corpus: What to search.
        query: A text, or the number of a row of the corpus, which is not found itself.
        factors: What to multiply latents by, 0 to switch one off. A latent that is silent on the query has nothing to
            multiply: 2 adds it as strongly as the query's own latents are on average, 3 twice that, and up to 1
            it stays silent.
        n: How many texts.
        model: What encodes the query; None loads the model that the SAE was trained on.

    Raises:
        InputError: There is no such latent or row, a factor is not finite, the query is empty or nothing is left of it.
    """
    rows = corpus if isinstance(corpus, Rows) else Rows(corpus)
    changed = edit(sae, decompose(sae, _embedding(sae, rows, query, model)), factors)
    cosines = rows.cosines(torch.from_numpy(np.stack([changed.before, changed.after])))
    itself = None if isinstance(query, str) else query
    before, after = cosines.T
    if itself is not None:
        before[itself] = -np.inf
    first = rows.nearest(before, n, itself)
    hits = [
        Hit(found.number, found.text, found.cosine, _rank(before, found.number), changed.terms(found.vector.numpy()))
        for found in rows.nearest(after, n, itself)
    ]
    terms = [changed.terms(found.vector.numpy()) for found in first]
    usual = {latent: float(np.mean([each[latent] for each in terms])) for latent in changed.changes} if terms else {}
    return Steering(first, hits, usual)


def edit(sae: SAE, query: Sum, factors: Mapping[int, float]) -> Edit:
    """Turn latents of a query up or down, as `steer` does.

    Args:
        sae: The SAE.
        query: What `decompose` returned for one embedding.
        factors: As for `steer`.

    Raises:
        InputError: There is no such latent, a factor is not finite, or nothing is left of the query.
    """
    for latent, factor in factors.items():
        if not 0 <= latent < sae.dict_size:
            raise InputError(f"latent={shown(latent)} does not exist; latents are 0 to {sae.dict_size - 1}")
        if not np.isfinite(factor):
            raise InputError(f"latent {latent} cannot be multiplied by {factor}; give a number")
    latents = np.array(sorted(factors), dtype=np.int64)
    given = np.array([factors[latent] for latent in latents.tolist()])
    weights = query.weights[latents]
    active = query.weights[query.weights != 0]
    if not len(active) and (given > 1).any():
        raise InputError("no latent fires on this query, so there is no strength to add one with; give another query")
    usual = float(np.abs(active).mean()) if len(active) else 0.0
    by = np.where(weights != 0, (given - 1) * weights, np.maximum(given - 1, 0) * usual)
    changes = by[:, None] * directions(sae, latents)
    whole = query.total + changes.sum(axis=0)
    length = float(np.linalg.norm(whole))
    if length < 1e-6:
        raise InputError("these factors leave nothing of the query; switch fewer latents off")
    return Edit(query.total, whole / length, length, dict(zip(latents.tolist(), changes, strict=True)))


def _embedding(sae: SAE, rows: Rows, query: str | int, model: EmbeddingModel | None) -> torch.Tensor:
    """Return the embedding of a query `(1, act_size)`."""
    if isinstance(query, int):
        return rows[query].vector[None]
    return embed(sae, [query], model or model_of(sae), "the query")


def _rank(cosines: Cosines, number: int) -> int:
    """Return the place of a row, from 1; of equal ones the first comes first."""
    return 1 + int((cosines > cosines[number]).sum() + (cosines[:number] == cosines[number]).sum())

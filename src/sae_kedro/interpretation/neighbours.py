"""Rows of a corpus by their place, and those nearest to a vector: shard by shard, so that memory stays bounded."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import normalize

from sae_kedro.activations.store import ActivationsStoreSBERT
from sae_kedro.errors import InputError


class Row(NamedTuple):
    """A text of a corpus, or an embedding where there are no texts."""

    number: int
    """Its place in the embedding cache, from 0."""
    text: str | None
    vector: Tensor
    """`(act_size,)`."""
    cosine: float
    """With what it was looked for; 1 for a row that was asked for by its number."""


def row(store: ActivationsStoreSBERT, number: int) -> Row:
    """Return one row of a corpus.

    Raises:
        InputError: There is no such row.
    """
    cache, before = store.cache, 0
    for index in cache.iter_shards():
        vectors = cache.read(index).vectors
        if 0 <= number - before < len(vectors):
            return Row(number, cache.texts(index)[number - before], vectors[number - before], 1.0)
        before += len(vectors)
    raise InputError(f"there is no row {number:,} in {cache.corpus.name}, which has {before:,}, counted from 0")


def neighbours(store: ActivationsStoreSBERT, like: Tensor, n: int, but: str | int | None = None) -> list[Row]:
    """Find the rows of a corpus whose embeddings have the largest cosine with `like` `(act_size,)`, nearest first.

    Args:
        store: Of the corpus; what is not in its embedding cache yet is encoded.
        like: What to look for.
        n: How many rows.
        but: A text, or the number of a row, that is not to be found: the one that is looked for.
    """
    cache, best, before = store.cache, list[Row](), 0
    for index in cache.iter_shards():
        vectors, texts = cache.read(index).vectors, cache.texts(index)
        cosines = normalize(vectors, dim=1) @ normalize(like, dim=0)
        left_out = [i for i, text in enumerate(texts) if but is not None and but in (before + i, text)]
        cosines[left_out] = -torch.inf
        for i in cosines.topk(min(n, len(cosines) - len(left_out))).indices.tolist():
            best.append(Row(before + i, texts[i], vectors[i].clone(), float(cosines[i])))
        best = sorted(best, key=lambda found: (-found.cosine, found.number))[:n]
        before += len(vectors)
    return best

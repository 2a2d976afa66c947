"""Labels of cached texts: the cache holds none, so the corpus is read again beside it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from sae_kedro.activations.store import ActivationsStoreSBERT
from sae_kedro.corpora.base import Corpus, clean_text, rejected, text_hash
from sae_kedro.errors import InputError

MOST_LABELLED = 10_000
"""Held-out texts to label at most; the hash decides which, so a corpus sorted by label does no harm."""


class LabelledRows(NamedTuple):
    """Held-out texts that have a label."""

    vectors: Tensor
    """`(n, act_size)`, float32, on the CPU."""
    labels: list[str]
    hashes: np.ndarray[Any, np.dtype[np.uint64]]
    """`(n,)`, of the texts."""


def labelled_eval_rows(store: ActivationsStoreSBERT, labels: Corpus, most: int = MOST_LABELLED) -> LabelledRows:
    """Put a label beside every held-out row of the cache; rows whose label is null or blank are left out.

    The cache lacks the rows of the corpus that are no text or have no finite embedding. So texts and labels are read
    side by side, and a row counts only when its text has the hash that comes next in the cache.

    Args:
        store: Serves the held-out rows.
        labels: A stream with one label for each row of the store's corpus, as `open_labels` opens it.
        most: Rows to return, about; beyond it a uniform share of texts is taken.

    Raises:
        InputError: The corpus no longer holds the texts that were encoded.
    """
    cache = store.cache
    shards = list(cache.iter_shards())
    rows = _usable(zip(cache.corpus.rows(), labels.rows(), strict=True))
    vectors, kept, hashes = [torch.empty(0, store.act_size)], list[str](), [np.empty(0, np.uint64)]
    share: float | None = None
    for index in shards:
        shard = cache.read(index)
        found = _aligned(rows, shard.hashes.tolist(), cache.corpus.name)
        held_out = store.belongs(shard.hashes, "held out")
        if share is None:
            share = most / max(1.0, held_out.mean() * cache.n_texts)
        drawn = (shard.hashes % 2**32) < share * 2.0**32  # the low half of the hash: the high one made the split
        labelled = [label is not None and bool(str(label).strip()) for label in found]  # CSV has no null
        chosen = held_out & drawn & np.array(labelled, dtype=bool)
        vectors.append(shard.vectors[torch.from_numpy(chosen)])
        hashes.append(shard.hashes[chosen])
        kept += [str(label) for label, keep in zip(found, chosen.tolist(), strict=True) if keep]
    return LabelledRows(torch.cat(vectors), kept, np.concatenate(hashes))


def _usable(pairs: Iterable[tuple[object, object]]) -> Iterator[tuple[int, object]]:
    """Yield the hash of each usable text with its label."""
    return ((text_hash(clean_text(str(text))), label) for text, label in pairs if rejected(text) is None)


def _aligned(rows: Iterator[tuple[int, object]], hashes: list[int], name: str) -> list[object]:
    """Take the label of each of `hashes`, in order, passing over rows in between."""
    labels: list[object] = []
    for wanted in hashes:
        found = next((row for row in rows if row[0] == wanted), None)
        if found is None:
            raise InputError(f"{name} no longer holds the texts that were encoded; was it changed during the run?")
        labels.append(found[1])
    return labels

"""Labels of cached texts: the cache holds none, so the corpus is read again beside it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from sae_kedro.activations.beside import columns_beside
from sae_kedro.activations.store import ActivationsStoreSBERT, Part
from sae_kedro.corpora.base import Corpus

MOST_LABELLED = 10_000
"""Texts of a part to label at most; the hash decides which, so a corpus sorted by label does no harm."""


class LabelledRows(NamedTuple):
    """Texts that have a label, for training and held out."""

    vectors: Tensor
    """`(n, act_size)`, float32, on the CPU."""
    labels: list[str]
    hashes: np.ndarray[Any, np.dtype[np.uint64]]
    """`(n,)`, of the texts."""
    held_out: np.ndarray[Any, np.dtype[np.bool_]]
    """`(n,)`: whether a text is held out; the others are for training."""


def labelled_rows(store: ActivationsStoreSBERT, labels: Corpus, most: int = MOST_LABELLED) -> LabelledRows:
    """Put a label beside every training and held-out row of the cache; those whose label is null or blank are left out.

    Args:
        store: Knows which row is for what.
        labels: A stream with one label for each row of the store's corpus, as `open_labels` opens it.
        most: Rows of either part to return, about; beyond it a uniform share of texts is taken.

    Raises:
        InputError: The corpus no longer holds the texts that were encoded.
    """
    cache = store.cache
    shards = list(cache.iter_shards())
    vectors, kept, hashes = [torch.empty(0, store.act_size)], list[str](), [np.empty(0, np.uint64)]
    sides = [np.empty(0, np.bool_)]
    parts: tuple[Part, Part] = ("held out", "training")
    shares: list[float] = []
    for index, found in zip(shards, columns_beside(cache, [labels]), strict=True):
        shard = cache.read(index)
        held_out, training = (store.belongs(shard.hashes, part) for part in parts)
        shares = shares or [most / max(1.0, part.mean() * cache.n_texts) for part in (held_out, training)]
        low = shard.hashes % 2**32  # the low half of the hash: the high one made the split
        drawn = (held_out & (low < shares[0] * 2.0**32)) | (training & (low < shares[1] * 2.0**32))
        labelled = [label is not None and bool(str(label).strip()) for (label,) in found]  # CSV has no null
        chosen = drawn & np.array(labelled, dtype=bool)
        vectors.append(shard.vectors[torch.from_numpy(chosen)])
        hashes.append(shard.hashes[chosen])
        sides.append(held_out[chosen])
        kept += [str(label) for (label,), keep in zip(found, chosen.tolist(), strict=True) if keep]
    return LabelledRows(torch.cat(vectors), kept, np.concatenate(hashes), np.concatenate(sides))

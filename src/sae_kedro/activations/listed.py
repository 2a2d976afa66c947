"""Embeddings of a list of texts that is not the corpus of the run, kept in the same cache."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from sae_kedro.activations.cache import EmbeddingCache
from sae_kedro.activations.encoder import TextEncoder
from sae_kedro.corpora.base import Corpus
from sae_kedro.errors import InputError


class ListedTexts(Corpus):
    """Texts in memory.

    Args:
        name: What the folder of their embeddings is called after.
        texts: The texts.
    """

    def __init__(self, name: str, texts: list[str]) -> None:
        self.name, self._texts = name, texts

    @property
    def fingerprint(self) -> str:
        """Hash of the texts and their order."""
        digest = hashlib.sha256(b"listed")
        for text in self._texts:
            digest.update(hashlib.sha256(text.encode("utf-8", "replace")).digest())
        return digest.hexdigest()

    def rows(self, start: int = 0) -> Iterator[str]:
        """Yield the texts."""
        return islice(self._texts, start, None)


def embed_texts(name: str, texts: list[str], cfg: dict[str, Any], encoder: TextEncoder) -> Tensor:
    """Encode a list of texts, or read it from the embedding cache under `data_root`.

    Args:
        name: Names the folder of the embeddings, and the list in an error.
        texts: At least one text; none may be empty.
        cfg: Reads `data_root`.
        encoder: The encoder of the run.

    Returns:
        `(len(texts), act_size)`, float32, on the CPU.

    Raises:
        InputError: A text is empty or has no finite embedding.
    """
    cache = EmbeddingCache.open(cfg | {"num_examples": None}, ListedTexts(name, texts), encoder)
    cache.fill()
    if cache.skipped:
        raise InputError(f"{name}: every text must have an embedding; without one: {cache.skipped}")
    return torch.cat([cache.read(index).vectors for index in cache.iter_shards()])

"""Embeddings that come with the corpus, where a model would make them: no model loads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from sae_kedro.activations.chunks import SHARD_SIZE
from sae_kedro.activations.encoder import TextEncoder
from sae_kedro.activations.rows import Rows, tell_rest, tell_skipped, unusable
from sae_kedro.corpora.base import Embedded, Row, clean_text, rejected, text_hash, vector_hash
from sae_kedro.corpora.embedded import ArrayCorpus
from sae_kedro.errors import InputError


class ReadyVectors:
    """Stands where a `TextEncoder` does, and hands on the vectors that rows bring.

    Args:
        cfg: Reads `act_size`, and `model_name` and what else a `TextEncoder` reads for texts that bring none.
    """

    fingerprint = "ready"

    def __init__(self, cfg: dict[str, Any]) -> None:
        self.act_size, self._cfg = int(cfg["act_size"]), cfg

    def tokenise(self, rows: Sequence[Row]) -> None:
        """Nothing has to be made of the texts."""

    def encode(
        self, rows: Sequence[Row], on_progress: Callable[[int], Any] | None = None, tokens: object = None
    ) -> Tensor:
        """Return the vectors of `rows`: `(len(rows), act_size)`, float32, on the CPU."""
        del tokens
        vectors = np.empty((len(rows), self.act_size), dtype=np.float32)
        with np.errstate(over="ignore"):  # what is too large for float32 is counted as not finite
            for place, row in enumerate(rows):
                assert isinstance(row, Embedded)
                vectors[place] = row.vector
        if on_progress:
            on_progress(len(rows))
        return torch.from_numpy(vectors)

    def for_texts(self) -> TextEncoder:
        """Return the encoder of texts that bring no vector.

        Raises:
            InputError: No model is known.
        """
        if self._cfg["model_name"] is None:
            raise InputError("texts without embeddings need the model that made the others; set model_name")
        return TextEncoder(self._cfg)


class EmbeddingArray:
    """The rows of an array, read where they are: what `EmbeddingCache` is for texts, without a copy on the disk.

    Args:
        corpus: The array.
        encoder: Stands for the model.
        limit: Use at most this many rows; None: all.

    Raises:
        InputError: No row can be used.
    """

    complete = True

    def __init__(self, corpus: ArrayCorpus, encoder: ReadyVectors, limit: int | None) -> None:
        self.corpus, self.encoder, self.limit = corpus, encoder, limit
        self.skipped: dict[str, int] = {}
        self._places = self._usable_texts()
        self._starts = [0]
        n = corpus.n_rows if self._places is None else len(self._places)
        with tqdm(total=n, unit=" rows", desc="Looking at embeddings", smoothing=0.1) as bar:
            for start in range(0, n, SHARD_SIZE):
                if limit is not None and self._starts[-1] >= limit:
                    break
                vectors = self._vectors(len(self._starts) - 1)
                reasons = unusable(vectors)
                for reason, rows in reasons.items():
                    self.skipped[reason] = self.skipped.get(reason, 0) + int(rows.sum())
                lost = sum(int(rows.sum()) for rows in reasons.values())
                self._starts.append(self._starts[-1] + len(vectors) - lost)
                bar.update(min(SHARD_SIZE, n - start))
        self._rest = self._starts[-1] > self.n_texts or (len(self._starts) - 1) * SHARD_SIZE < n

    @property
    def key(self) -> str:
        """What identifies the embeddings."""
        return f"array-{self.corpus.fingerprint[:16]}"

    @property
    def n_texts(self) -> int:
        """Rows that are used."""
        return self._starts[-1] if self.limit is None else min(self._starts[-1], self.limit)

    def fill(self) -> None:
        """Say what is left out; everything else is there.

        Raises:
            InputError: Nothing is left.
        """
        if self.n_texts == 0:
            raise InputError(f"{self.corpus.name} holds no embedding that can be used; skipped: {self.skipped}")
        if self._rest:
            tell_rest(self.corpus.name, self.limit)
        tell_skipped(self.corpus.name, self.skipped)

    def iter_shards(self) -> Iterator[int]:
        """Yield the index of every block of rows within the limit."""
        yield from range(len(self._starts) - 1)

    def read(self, index: int) -> Rows:
        """Read one block of rows, cut at the limit."""
        vectors = self._vectors(index)
        keep = ~np.any(list(unusable(vectors).values()), axis=0)
        vectors = vectors[keep][: self._left(index)]
        if self._places is None:
            hashes: Iterator[int] = map(vector_hash, vectors)
        else:
            hashes = (text_hash(text) for text in self.texts(index) if text is not None)
        return Rows(np.fromiter(hashes, np.uint64, len(vectors)), torch.from_numpy(vectors))

    def texts(self, index: int) -> list[str | None]:
        """Return the texts of one block, in the order of `read`; None where there are none."""
        keep = ~np.any(list(unusable(self._vectors(index)).values()), axis=0)
        if self._places is None or self.corpus.row_texts is None:
            return [None] * min(int(keep.sum()), self._left(index))
        places = self._places[index * SHARD_SIZE : (index + 1) * SHARD_SIZE][keep]
        texts = (clean_text(str(self.corpus.row_texts[place])) for place in places.tolist())
        return list(islice(texts, self._left(index)))

    def _left(self, index: int) -> int:
        return max(0, self.n_texts - self._starts[index])

    def _usable_texts(self) -> np.ndarray[Any, np.dtype[np.int64]] | None:
        """Find the rows whose text is one, counting the others; None where there are no texts."""
        if self.corpus.row_texts is None:
            return None
        places = []
        for place, text in enumerate(self.corpus.row_texts):
            if (reason := rejected(text)) is None:
                places.append(place)
            else:
                self.skipped[reason] = self.skipped.get(reason, 0) + 1
        return np.array(places, dtype=np.int64)

    def _vectors(self, index: int) -> np.ndarray[Any, np.dtype[np.float32]]:
        """Read one block with all of its rows, as float32."""
        start, end = index * SHARD_SIZE, (index + 1) * SHARD_SIZE
        if self._places is None:
            stored = self.corpus.vectors(start, end)
        elif len(places := self._places[start:end]):
            stored = self.corpus.vectors(int(places[0]), int(places[-1]) + 1)[places - places[0]]
        else:
            stored = self.corpus.vectors(0, 0)
        with np.errstate(over="ignore"):  # what is too large for float32 is counted as not finite
            return np.array(stored, dtype=np.float32, order="C")

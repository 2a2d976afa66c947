"""ActivationsStoreSBERT: the shuffling buffer between embeddings and training steps."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from sae_kedro.activations.cache import EmbeddingCache, Encoder
from sae_kedro.activations.chunks import SHARD_SIZE
from sae_kedro.activations.encoder import EmbeddingModel, TextEncoder
from sae_kedro.activations.ready import EmbeddingArray, ReadyVectors
from sae_kedro.config import post_init_cfg
from sae_kedro.corpora.base import Corpus
from sae_kedro.corpora.embedded import ArrayCorpus, InMemory
from sae_kedro.corpora.opening import brings_embeddings, open_corpus
from sae_kedro.errors import InputError
from sae_kedro.sae.contract import Array

Part = Literal["held out", "calibration", "training"]
PLACE = ("dataset_path", "dataset_config", "dataset_split", "dataset_revision")
"""Keys that say which corpus embeddings are of."""


class ActivationsStoreSBERT:
    """Streams texts, encodes them, and serves shuffled minibatches of sentence embeddings.

    Texts are encoded while the first epoch is served and kept in the embedding cache under `data_root`, so each
    is encoded once. About `buffer_size` embeddings are in memory at a time: a buffer is filled with whole shards,
    shuffled, served, and filled again. The last batch of an epoch may be smaller; no text is dropped.

    A hash of its text decides what a row is for: the first `eval_fraction` of the hash range is held out for
    evaluation, the next half as much for calibration, and the rest is for training.

    Args:
        model: A `SentenceTransformer`, or any object whose `encode(list of texts)` returns `(n, act_size)`.
            None loads `model_name` when a text has to be encoded.
        cfg: The configuration that `post_init_cfg` returned.
        corpus: A corpus to use in place of the one that `dataset_path` names.
    """

    def __init__(self, model: EmbeddingModel | None, cfg: dict[str, Any], corpus: Corpus | None = None) -> None:
        cfg = post_init_cfg(cfg)
        cache = open_embeddings(cfg, corpus or open_corpus(cfg), open_encoder(cfg, model))
        self._start(cfg if corpus is None else cfg | dict.fromkeys(PLACE) | {"dataset_path": corpus.name}, cache)

    @classmethod
    def from_embeddings(
        cls, x: Array, cfg: dict[str, Any], texts: Sequence[str] | None = None, model_name: str | None = None
    ) -> ActivationsStoreSBERT:
        """Serve embeddings that are in memory; no model loads, and nothing is written.

        Args:
            x: `(n, act_size)`: an array or tensor of float16, bfloat16, float32 or float64, or a NumPy memory map.
            cfg: A configuration; what it says of texts and models is not read. `num_examples` holds here, too.
            texts: The text of each row, whose hash then decides the held-out split; None: that of its vector does.
            model_name: What made the embeddings, to be remembered with an SAE; None: unknown.

        Raises:
            InputError: `x` has another size than `act_size`, holds whole numbers or nothing that can be used, or there
                is not one text a row.
        """
        corpus = InMemory(_as_array(x), texts)
        if cfg["act_size"] not in (None, corpus.act_size):
            raise InputError(
                f"act_size={cfg['act_size']} does not match the embeddings, whose size is {corpus.act_size}; set "
                f"act_size={corpus.act_size}"
            )
        cfg = post_init_cfg(cfg | {"act_size": corpus.act_size}) | dict.fromkeys(PLACE) | {"model_name": model_name}
        embeddings = EmbeddingArray(corpus, ReadyVectors(cfg), cfg["num_examples"])
        embeddings.fill()
        return cls.from_cache(embeddings, cfg)

    @classmethod
    def from_cache(cls, cache: EmbeddingCache | EmbeddingArray, cfg: dict[str, Any]) -> ActivationsStoreSBERT:
        """Serve an embedding cache that is already open."""
        store = cls.__new__(cls)
        store._start(cfg, cache)
        return store

    def _start(self, cfg: dict[str, Any], cache: EmbeddingCache | EmbeddingArray) -> None:
        self.cache = cache
        self.origin: dict[str, Any] = {key: cfg[key] for key in (*PLACE, "model_name")}
        self.batch_size, self.n_epochs = int(cfg["batch_size"]), int(cfg["n_epochs"])
        self.act_size, self.device = int(cfg["act_size"]), torch.device(cfg["device"])
        self._buffer_size, self._seed = int(cfg["buffer_size"]), int(cfg["seed"])
        self.eval_fraction = float(cfg["eval_fraction"])
        self.split_by = "text" if cache.corpus.has_texts else "vector"
        self._kept: Tensor | None = None  # the whole training split, when it fits the buffer
        self._batches = self._all_epochs()

    def served_by(self, cfg: dict[str, Any]) -> ActivationsStoreSBERT:
        """Return a store of the same embeddings, in memory once, with `batch_size`, `n_epochs` and `seed` of `cfg`."""
        self._all_in_memory()
        store = copy.copy(self)
        store.batch_size, store.n_epochs = int(cfg["batch_size"]), int(cfg["n_epochs"])
        store._seed, store._batches = int(cfg["seed"]), store._all_epochs()
        return store

    @property
    def data_key(self) -> str:
        """What identifies the embeddings: a hash of the corpus and of the model that encoded it."""
        return self.cache.key

    def next_batch(self) -> Tensor:
        """Return the next minibatch `(batch_size, act_size)`, float32; the last one of an epoch may be smaller.

        Raises:
            StopIteration: `n_epochs` epochs have been served.
        """
        return next(self._batches)

    def __iter__(self) -> Iterator[Tensor]:
        """Iterate over the minibatches of all epochs, from the first."""
        return self._all_epochs()

    def epoch(self, number: int) -> Iterator[Tensor]:
        """Yield the minibatches of one epoch; its order depends on `seed` and `number` alone."""
        rng = np.random.default_rng([self._seed, number])
        rest = torch.empty(0, self.act_size)
        for buffer in self._buffers(rng if number else None):
            order = torch.from_numpy(rng.permutation(len(buffer)))
            taken = 0
            if len(rest):
                taken = min(self.batch_size - len(rest), len(buffer))
                rest = torch.cat([rest, buffer[order[:taken]]])
                if len(rest) < self.batch_size:
                    continue
                yield rest.to(self.device)
            for start in range(taken, len(buffer), self.batch_size):
                rest = buffer[order[start : start + self.batch_size]]
                if len(rest) == self.batch_size:
                    yield rest.to(self.device)
                    rest = rest[:0]
            if taken == len(buffer):
                rest = rest[:0]
            del buffer  # before the next one is put together, so that memory holds one at a time
        if len(rest):
            yield rest.to(self.device)

    def eval_batches(self, batch_size: int | None = None) -> Iterator[Tensor]:
        """Yield the held-out embeddings in corpus order, `(batch_size, act_size)` at a time."""
        size = batch_size or self.batch_size
        for vectors in _regrouped(self._split(self.cache.iter_shards(), "held out"), size):
            yield vectors.to(self.device)

    def calibration_batches(self, batch_size: int = 8192) -> Iterator[Tensor]:
        """Yield the calibration embeddings in corpus order: neither trained on nor reported on."""
        for vectors in _regrouped(self._split(self.cache.iter_shards(), "calibration"), batch_size):
            yield vectors.to(self.device)

    def train_batches(self, batch_size: int = 8192) -> Iterator[Tensor]:
        """Yield the training embeddings once, in corpus order, for statistics and calibration."""
        kept = self._all_in_memory()
        source = iter([kept]) if kept is not None else self._split(self.cache.iter_shards(), "training")
        for vectors in _regrouped(source, batch_size):
            yield vectors.to(self.device)

    def _all_epochs(self) -> Iterator[Tensor]:
        for number in range(self.n_epochs):
            yield from self.epoch(number)

    def _buffers(self, rng: np.random.Generator | None) -> Iterator[Tensor]:
        """Group shards into buffers of at least `buffer_size` rows; in corpus order without `rng`.

        The first epoch keeps corpus order, because that is the order in which texts are encoded. A corpus that
        fits the buffer is read once and kept.
        """
        order = list(self.cache.iter_shards()) if rng is not None else self.cache.iter_shards()
        kept = self._all_in_memory()
        if kept is not None:
            yield kept
            return
        if rng is not None:
            order = rng.permutation(list(order)).tolist()
        parts = _Stack(self._buffer_size + SHARD_SIZE, self.act_size)
        for vectors in self._split(order, "training"):
            parts.add(vectors)
            if parts.n >= self._buffer_size:
                yield parts.taken()
        if parts.n:
            yield parts.taken()

    def belongs(self, hashes: np.ndarray[Any, np.dtype[np.uint64]], part: Part) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Say which rows, by the hashes `(n,)` of their texts, are in a part of the corpus: `(n,)`."""
        low, high = {
            "held out": (0.0, self.eval_fraction),
            "calibration": (self.eval_fraction, 1.5 * self.eval_fraction),
            "training": (1.5 * self.eval_fraction, 1.0),
        }[part]
        position = hashes * 2.0**-64
        return (position >= low) & (position < high)

    def _all_in_memory(self) -> Tensor | None:
        """Return the training split, read once and kept, if all of it is encoded and the buffer has room for it."""
        if self._kept is None and self.cache.complete and self.cache.n_texts <= self._buffer_size:
            parts = _Stack(self.cache.n_texts, self.act_size)
            for vectors in self._split(self.cache.iter_shards(), "training"):
                parts.add(vectors)
            self._kept = parts.taken()
        return self._kept

    def _split(self, shards: Iterable[int], part: Part) -> Iterator[Tensor]:
        for index in shards:
            rows = self.cache.read(index)
            yield rows.vectors[torch.from_numpy(self.belongs(rows.hashes, part))]


def open_encoder(cfg: dict[str, Any], model: EmbeddingModel | None = None) -> Encoder:
    """Return what makes vectors of the rows of a corpus: a model, or nothing but the vectors that they bring."""
    return ReadyVectors(cfg) if brings_embeddings(cfg) else TextEncoder(cfg, model)


def open_embeddings(cfg: dict[str, Any], corpus: Corpus, encoder: Encoder) -> EmbeddingCache | EmbeddingArray:
    """Open the embeddings of a corpus: those in the cache under `data_root`, or an array where it lies.

    Raises:
        InputError: A damaged shard cannot be replaced.
    """
    if isinstance(corpus, ArrayCorpus) and isinstance(encoder, ReadyVectors):
        return EmbeddingArray(corpus, encoder, cfg["num_examples"])
    return EmbeddingCache.open(cfg, corpus, encoder)


def _as_array(x: Array) -> np.ndarray[Any, np.dtype[Any]]:
    if isinstance(x, Tensor):
        x = x.detach().cpu()
        return (x.float() if x.dtype == torch.bfloat16 else x).numpy()
    x = np.asarray(x)
    return np.stack(list(x)) if x.dtype == object and x.ndim == 1 and len({len(row) for row in x}) == 1 else x


class _Stack:
    """Rows put below each other in memory that is set aside at once, so that parts are not held beside the whole.

    Args:
        most: Rows that it usually has in the end.
        act_size: Their size.
    """

    def __init__(self, most: int, act_size: int) -> None:
        self._shape, self.n = (most, act_size), 0

    def add(self, rows: Tensor) -> None:
        """Add some rows."""
        if self.n == 0:
            self._rows = torch.empty(self._shape)
        if self.n + len(rows) > len(self._rows):
            self._rows = torch.cat([self._rows, torch.empty_like(rows)])
        self._rows[self.n : self.n + len(rows)] = rows
        self.n += len(rows)

    def taken(self) -> Tensor:
        """Return all rows, and start anew."""
        rows, self.n = self._rows[: self.n], 0
        del self._rows
        return rows


def _regrouped(source: Iterator[Tensor], size: int) -> Iterator[Tensor]:
    """Cut a stream of row blocks into blocks of `size` rows; the last may be smaller."""
    rest: Tensor | None = None
    for block in source:
        rest = block if rest is None else torch.cat([rest, block])
        whole = len(rest) - len(rest) % size
        yield from rest[:whole].split(size) if whole else ()
        rest = rest[whole:]
    if rest is not None and len(rest):
        yield rest

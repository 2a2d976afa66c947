"""Embedding shards on disk: every text is encoded once, and an interrupted run goes on where it stopped."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor
from tqdm.auto import tqdm

from sae_kedro.activations.chunks import Chunk, cut, one_ahead
from sae_kedro.activations.encoder import TextEncoder, Tokens
from sae_kedro.activations.rows import Rows, tell_rest, tell_skipped, unusable
from sae_kedro.activations.shards import (
    DamagedShardError,
    ShardInfo,
    cache_folder,
    out_of_place,
    read_info,
    read_shard,
    shard_path,
    write_shard,
)
from sae_kedro.activations.turns import Turns
from sae_kedro.corpora.base import Corpus, row_hash, text_of
from sae_kedro.errors import InputError

logger = logging.getLogger(__name__)


class Encoder(Protocol):
    """What turns rows into vectors."""

    act_size: int

    @property
    def fingerprint(self) -> str | None:
        """A hash of all that decides the vectors; None where it cannot be known."""

    def tokenise(self, rows: Any, /) -> Tokens | None:
        """Do beforehand what another thread can."""

    def encode(
        self, rows: Any, on_progress: Callable[[int], Any] | None = None, tokens: Tokens | None = None, /
    ) -> Tensor:
        """Return `(len(rows), act_size)`, float32, on the CPU."""

    def for_texts(self) -> TextEncoder:
        """Return the encoder of texts that are not of the corpus."""


class EmbeddingCache:
    """The embeddings of one corpus by one model, in order, as Parquet shards with columns text, hash, embedding.

    A shard appears whole or not at all, and its checksums are verified whenever it is read; one that is damaged,
    missing or out of place is named and encoded again. So a run may be killed at any instant, and the next goes on.

    Runs that share a cache take turns. Whoever encodes a shard holds a lock, which ends with the process, however that
    ends; another run that has to encode says that it waits, takes in what was written meanwhile, and goes on from
    there. No text is encoded twice, and reading needs no lock.

    Args:
        folder: Where the shards of this corpus and model live; its name is written into each.
        corpus: Where texts that are not in the cache come from.
        encoder: What encodes them.
        limit: Use at most this many texts; None: all.

    Raises:
        InputError: A damaged shard cannot be replaced, because the disk is full, for instance.
    """

    _temporary: tempfile.TemporaryDirectory[str] | None = None

    def __init__(self, folder: Path, corpus: Corpus, encoder: Encoder, limit: int | None) -> None:
        self.folder, self.corpus, self.encoder, self.limit = folder, corpus, encoder, limit
        self.shards: list[ShardInfo] = []
        self._turns, self._told = Turns(folder), set[str]()
        with suppress(OSError):
            os.utime(folder)  # the time of last use, for `kedro sae cache list`
        self._take_in()
        while self._close_gap():
            self._take_in()

    @classmethod
    def open(cls, cfg: dict[str, Any], corpus: Corpus, encoder: Encoder) -> EmbeddingCache:
        """Open the cache under `cache_root` or `data_root` that belongs to this corpus and this model, or a new one.

        A model that cannot be fingerprinted gets a temporary cache, which is removed with the object.
        """
        if encoder.fingerprint is None:
            temporary = tempfile.TemporaryDirectory(prefix="sae-kedro-")
            cache = cls(Path(temporary.name), corpus, encoder, cfg["num_examples"])
            cache._temporary = temporary
            return cache
        key = hashlib.sha256(f"{corpus.fingerprint} {encoder.fingerprint}".encode()).hexdigest()[:16]
        stem = re.sub(r"[^0-9A-Za-z]+", "-", Path(corpus.name).name.split(".")[0])[:40].strip("-") or "corpus"
        return cls(
            cache_folder(cfg["data_root"], cfg["cache_root"]) / f"{stem}-{key}",
            corpus,
            encoder,
            cfg["num_examples"],
        )

    @property
    def key(self) -> str:
        """What identifies the embeddings: a hash of the corpus and of the model that encoded it."""
        return self.folder.name

    @property
    def n_texts(self) -> int:
        """Texts that are encoded and within the limit."""
        total = sum(info.n_texts for info in self.shards)
        return total if self.limit is None else min(total, self.limit)

    @property
    def complete(self) -> bool:
        """True when nothing is left to encode."""
        return (self.limit is not None and self.n_texts >= self.limit) or bool(self.shards and self.shards[-1].last)

    @property
    def skipped(self) -> dict[str, int]:
        """Rows of the corpus that were left out, by reason."""
        return dict(sum((Counter(info.skipped) for info in self.shards), Counter()))

    def fill(self) -> None:
        """Encode whatever is missing, with a progress bar.

        Raises:
            InputError: The corpus holds no text.
        """
        for _ in self.iter_shards():
            pass
        if self.n_texts == 0:
            raise InputError(f"dataset_path={self.corpus.name!r} holds no text; skipped: {self.skipped}")
        if self.limit and (not self.shards[-1].last or sum(info.n_texts for info in self.shards) > self.limit):
            tell_rest(self.corpus.name, self.limit)
        tell_skipped(self.corpus.name, self.skipped)

    def iter_shards(self) -> Iterator[int]:
        """Yield the index of every shard within the limit, encoding those that are not there yet."""
        encoding = self._encode_missing()
        seen = index = 0
        while self.limit is None or seen < self.limit:
            while index == len(self.shards):
                if not next(encoding, False):
                    return
            seen += self.shards[index].n_texts
            yield index
            index += 1

    def read(self, index: int) -> Rows:
        """Read one shard, cut at the limit; a damaged one is named and encoded again."""
        table = self._table(index, ["hash", "embedding"])
        vectors = table["embedding"].combine_chunks().flatten().to_numpy().reshape(-1, self.encoder.act_size)
        return Rows(table["hash"].to_numpy(), torch.from_numpy(vectors.copy()))

    def texts(self, index: int) -> list[str | None]:
        """Return the texts of one shard, in the order of `read`; None where the corpus has none."""
        texts: list[str | None] = self._table(index, ["text"])["text"].to_pylist()
        return texts

    @property
    def _next_row(self) -> int:
        """Position in the corpus of the first row that no shard has read."""
        return self.shards[-1].next_row if self.shards else 0

    def _take_in(self) -> None:
        """Add the shards on disk that continue those known; another process may have written them."""
        while not self.complete:
            info = self._account(len(self.shards))
            if info is None:
                return
            if info.first_row != self._next_row:
                self._tell_damage(len(self.shards), out_of_place(info, self._next_row))
                return
            self.shards.append(info)

    def _close_gap(self) -> bool:
        """Encode again a shard that is damaged or missing, if a sound one follows; say whether one did."""
        known = len(self.shards)
        following = None if self.complete else self._account(known + 1)
        if following is None or following.first_row <= self._next_row:
            return False
        with self._turns.take(self.n_texts):
            self._take_in()
            if len(self.shards) == known:
                self.shards.append(self._encode_again(known, self._next_row, following.first_row))
        return True

    def _account(self, index: int) -> ShardInfo | None:
        """Read what a shard says of itself; None for one that is missing or damaged."""
        try:
            return read_info(shard_path(self.folder, index))
        except FileNotFoundError:
            return None
        except (DamagedShardError, OSError) as error:
            self._tell_damage(index, error)
            return None

    def _table(self, index: int, columns: list[str]) -> pa.Table:
        """Read columns of one shard, cut at the limit."""
        try:
            table = self._sound(index, columns)
        except (DamagedShardError, OSError) as error:
            self._tell_damage(index, error)
            table = self._mended(index, columns)
        before = sum(info.n_texts for info in self.shards[:index])
        return table.slice(0, None if self.limit is None else max(0, self.limit - before))

    def _sound(self, index: int, columns: list[str]) -> pa.Table:
        info, table = read_shard(shard_path(self.folder, index), columns)
        if info != self.shards[index]:
            raise DamagedShardError(out_of_place(info, self.shards[index].first_row))
        return table

    def _mended(self, index: int, columns: list[str]) -> pa.Table:
        with self._turns.take(self.n_texts):
            with suppress(DamagedShardError, OSError):
                return self._sound(index, columns)  # another process was faster
            info = self.shards[index]
            self.shards[index] = self._encode_again(index, info.first_row, info.next_row)
            try:
                return self._sound(index, columns)
            except (DamagedShardError, OSError) as error:
                path = shard_path(self.folder, index)
                raise InputError(
                    f"{path} was damaged, and is so again right after it was written anew ({error}); check the disk, "
                    "or set data_root to another one"
                ) from error

    def _tell_damage(self, index: int, error: Exception | str) -> None:
        """Name a damaged shard, once."""
        sentence = f"Shard {shard_path(self.folder, index)} is damaged ({error}); encoding it again"
        if sentence not in self._told:
            self._told.add(sentence)
            logger.warning(sentence)

    def _encode_missing(self) -> Iterator[bool]:
        """Encode on from the last shard, one after another; yield True whenever there may be more of them."""
        if self.complete:
            return
        total = min(filter(None, (self.limit, self.corpus.likely_rows)), default=None)
        with tqdm(total=total, initial=self.n_texts, unit=" texts", desc="Encoding", smoothing=0.1) as bar:
            start = -1
            while not self.complete and start != self._next_row:
                start = self._next_row
                chunks = cut(self.corpus, start, None if self.limit is None else self.limit - self.n_texts)
                for chunk, tokens in one_ahead((chunk, self.encoder.tokenise(chunk.rows)) for chunk in chunks):
                    if chunk.next_row > self._next_row:
                        with self._turns.take(self.n_texts):
                            self._take_in()
                            if chunk.first_row == self._next_row:
                                self.shards.append(self._write(len(self.shards), chunk, bar, tokens))
                    if chunk.next_row > self._next_row:
                        break  # another process cut its shards elsewhere
                    bar.update(self.n_texts - bar.n)
                    yield True
                    if self.complete:
                        break
            bar.total = bar.n
            bar.refresh()

    def _encode_again(self, index: int, start: int, end: int) -> ShardInfo:
        chunk = next(cut(self.corpus, start, end_row=end), None)
        if chunk is None:
            raise InputError(f"{self.corpus.name} no longer holds the texts that were encoded; was it changed?")
        return self._write(index, chunk)

    def _write(self, index: int, chunk: Chunk, bar: Any = None, tokens: Tokens | None = None) -> ShardInfo:
        vectors = self.encoder.encode(chunk.rows, bar.update if bar is not None else None, tokens)
        lost = unusable(vectors.numpy())
        skipped = chunk.skipped | {reason: int(rows.sum()) for reason, rows in lost.items() if rows.any()}
        keep = ~np.any(list(lost.values()), axis=0)
        rows = [row for row, kept in zip(chunk.rows, keep.tolist(), strict=True) if kept]
        info = ShardInfo(len(rows), chunk.first_row, chunk.next_row, chunk.last, skipped)
        with self._turns.disk(self.n_texts):
            texts, hashes = [text_of(row) for row in rows], [row_hash(row) for row in rows]
            write_shard(shard_path(self.folder, index), info, texts, hashes, vectors.numpy()[keep])
        return info

"""Embedding shards on disk: every text is encoded once, and an interrupted run goes on where it stopped."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor
from tqdm.auto import tqdm

from sae_kedro.activations.encoder import TextEncoder, Tokens
from sae_kedro.activations.texts import Corpus, clean_text, rejected, text_hash
from sae_kedro.errors import InputError

logger = logging.getLogger(__name__)

SHARD_SIZE = 8192
_Item = TypeVar("_Item")
_META = b"sae_kedro"


@dataclass(frozen=True)
class ShardInfo:
    """What a shard says of itself, in its Parquet metadata."""

    n_texts: int
    first_row: int
    """Position in the corpus of the first row read for this shard."""
    next_row: int
    """Position in the corpus at which the next shard starts."""
    last: bool
    """True when the corpus ended with this shard."""
    skipped: dict[str, int] = field(default_factory=dict)
    """Rows left out, by reason."""


class Rows(NamedTuple):
    """The rows of a shard."""

    hashes: np.ndarray[Any, np.dtype[np.uint64]]
    """`(n,)`: the hash that decides the held-out split."""
    vectors: Tensor
    """`(n, act_size)`, float32."""


class EmbeddingCache:
    """The embeddings of one corpus by one model, in order, as Parquet shards with columns text, hash, embedding.

    Args:
        folder: Where the shards of this corpus and model live.
        corpus: Where texts that are not in the cache come from.
        encoder: What encodes them.
        limit: Use at most this many texts; None: all.
    """

    _temporary: tempfile.TemporaryDirectory[str] | None = None

    def __init__(self, folder: Path, corpus: Corpus, encoder: TextEncoder, limit: int | None) -> None:
        self.folder, self.corpus, self.encoder, self.limit = folder, corpus, encoder, limit
        folder.mkdir(parents=True, exist_ok=True)
        self.shards: list[ShardInfo] = []
        for index in count():
            info = self._info(index)
            if info is None:
                break
            self.shards.append(info)

    @classmethod
    def open(cls, cfg: dict[str, Any], corpus: Corpus, encoder: TextEncoder) -> EmbeddingCache:
        """Open the cache under `data_root` that belongs to this corpus and this model, or a new one.

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
            Path(cfg["data_root"]).expanduser() / "04_feature" / "embeddings" / f"{stem}-{key}",
            corpus,
            encoder,
            cfg["num_examples"],
        )

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
        if self.skipped:
            reasons = ", ".join(f"{number:,} {reason}" for reason, number in self.skipped.items())
            logger.warning("Skipped rows of %s: %s", self.corpus.name, reasons)

    def iter_shards(self) -> Iterator[int]:
        """Yield the index of every shard within the limit, encoding those that are not there yet."""
        encoding: Iterator[int] = iter(())
        seen = index = 0
        while self.limit is None or seen < self.limit:
            if index == len(self.shards) and next(encoding, None) is None:
                encoding = self._encode_missing()
                if next(encoding, None) is None:
                    return
            seen += self.shards[index].n_texts
            yield index
            index += 1

    def read(self, index: int) -> Rows:
        """Read one shard, cut at the limit; a damaged one is named and encoded again."""
        table = self._table(index, ["hash", "embedding"])
        vectors = table["embedding"].combine_chunks().flatten().to_numpy().reshape(-1, self.encoder.act_size)
        return Rows(table["hash"].to_numpy(), torch.from_numpy(vectors.copy()))

    def texts(self, index: int) -> list[str]:
        """Return the texts of one shard, in the order of `read`."""
        texts: list[str] = self._table(index, ["text"])["text"].to_pylist()
        return texts

    def _path(self, index: int) -> Path:
        return self.folder / f"shard-{index:05d}.parquet"

    @property
    def _next_row(self) -> int:
        """Position in the corpus of the first row that no shard has read."""
        return self.shards[-1].next_row if self.shards else 0

    def _info(self, index: int) -> ShardInfo | None:
        """Take in the next shard, or encode it again if it is damaged and a sound one follows; None at the end."""
        info, start = self._account(index), self._next_row
        if info is not None and info.first_row == start:
            return info
        following = self._account(index + 1)
        if following is None or following.first_row <= start:
            return None
        return self._write(index, next(_chunks(self.corpus, start, end_row=following.first_row)))

    def _account(self, index: int) -> ShardInfo | None:
        """Read what a shard says of itself; None for one that is missing or damaged."""
        path = self._path(index)
        if not path.is_file():
            return None
        try:
            footer = pq.read_metadata(path)
            info = ShardInfo(**json.loads((footer.metadata or {})[_META]))
            if not info.n_texts == footer.num_rows == info.next_row - info.first_row - sum(info.skipped.values()):
                raise ValueError("its counts contradict each other")
        except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
            _warn_of_damage(path, error)
            return None
        return info

    def _table(self, index: int, columns: list[str]) -> pa.Table:
        """Read columns of one shard, cut at the limit."""
        path = self._path(index)
        try:
            table = pq.read_table(path, columns=columns, page_checksum_verification=True)
        except (pa.ArrowException, OSError) as error:
            _warn_of_damage(path, error)
            self._repair(index)
            table = pq.read_table(path, columns=columns)
        before = sum(info.n_texts for info in self.shards[:index])
        return table.slice(0, None if self.limit is None else max(0, self.limit - before))

    def _repair(self, index: int) -> None:
        info = self.shards[index]
        self.shards[index] = self._write(index, next(_chunks(self.corpus, info.first_row, end_row=info.next_row)))

    def _encode_missing(self) -> Iterator[int]:
        """Encode on from the last shard, one shard after another, until another reader has gone further."""
        if self.complete:
            return
        left = None if self.limit is None else self.limit - self.n_texts
        with tqdm(total=self.limit, initial=self.n_texts, unit=" texts", desc="Encoding", smoothing=0.1) as bar:
            chunks = _chunks(self.corpus, self._next_row, left)
            for chunk, tokens in _one_ahead((chunk, self.encoder.tokenise(chunk.texts)) for chunk in chunks):
                if chunk.first_row != self._next_row:
                    return
                self.shards.append(self._write(len(self.shards), chunk, bar, tokens))
                yield len(self.shards) - 1
            bar.total = bar.n
            bar.refresh()

    def _write(self, index: int, chunk: _Chunk, bar: Any = None, tokens: Tokens | None = None) -> ShardInfo:
        vectors = self.encoder.encode(chunk.texts, bar.update if bar is not None else None, tokens)
        finite = vectors.isfinite().all(dim=1)
        skipped, texts = dict(chunk.skipped), chunk.texts
        if not finite.all():
            skipped["not finite"] = int((~finite).sum())
            vectors, texts = (
                vectors[finite],
                [text for text, keep in zip(texts, finite.tolist(), strict=True) if keep],
            )
        info = ShardInfo(len(texts), chunk.first_row, chunk.next_row, chunk.last, skipped)
        element = pa.field("element", pa.float32(), nullable=False)
        embedding = pa.FixedSizeListArray.from_arrays(
            pa.array(vectors.numpy().reshape(-1)), type=pa.list_(element, self.encoder.act_size)
        )
        schema = pa.schema(
            [("text", pa.string()), ("hash", pa.uint64()), pa.field("embedding", embedding.type)],
            metadata={_META: json.dumps(vars(info))},
        )
        table = pa.Table.from_arrays(
            [
                pa.array(texts, pa.string()),
                pa.array([text_hash(text) for text in texts], pa.uint64()),
                embedding,
            ],
            schema=schema,
        )
        path = self._path(index)
        partial = path.with_suffix(f".{os.getpid()}.tmp")
        try:
            pq.write_table(
                table,
                partial,
                compression={"text": "zstd", "hash": "none", "embedding.list.element": "none"},
                use_dictionary=False,
                write_statistics=False,
                write_page_checksum=True,
            )
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
        return info


def _one_ahead(items: Iterator[_Item]) -> Iterator[_Item]:
    """Yield what `items` yields, which computes the next item in a thread of its own meanwhile."""
    with ThreadPoolExecutor(max_workers=1) as thread:
        coming = thread.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = thread.submit(next, items, None)
            yield item


def _warn_of_damage(path: Path, error: Exception) -> None:
    logger.warning("Shard %s is damaged (%s); encoding it again", path, str(error).split("\n")[0])


class _Chunk(NamedTuple):
    texts: list[str]
    first_row: int
    next_row: int
    last: bool
    skipped: dict[str, int]


def _chunks(corpus: Corpus, start: int, left: int | None = None, end_row: int | None = None) -> Iterator[_Chunk]:
    """Cut the texts of a corpus from row `start` on into chunks: at `SHARD_SIZE` texts, and where `left` runs out.

    Given `end_row`, one chunk holds everything up to that row.
    """
    texts: list[str] = []
    skipped: Counter[str] = Counter()
    first = row = start
    full = SHARD_SIZE if end_row is None else float("inf")
    for value in corpus.rows(start):
        if row == end_row or len(texts) >= min(full, float("inf") if left is None else left):
            yield _Chunk(texts, first, row, False, dict(skipped))
            left = None if left is None else left - len(texts)
            if left == 0 or end_row is not None:
                return
            texts, skipped, first = [], Counter(), row
        row += 1
        reason = rejected(value)
        if reason is None:
            texts.append(clean_text(str(value)))
        else:
            skipped[reason] += 1
    if row > first:
        yield _Chunk(texts, first, row, True, dict(skipped))

"""One embedding shard: a Parquet file with columns text, hash and embedding, and checksums of all its bytes.

The checksums lie between pages and footer, where a reader of Parquet does not look, so any of them reads a shard:
`pages | hash of the pages | hash of that hash and the footer | footer`. Nothing here loads torch.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from xxhash import xxh3_128_digest

CACHES = Path("04_feature") / "embeddings"
"""Below `data_root`, where each cache has a folder."""
LOCK_FILE = ".lock"
"""In the folder of a cache; locked while a shard is encoded and written."""
_META = b"sae_kedro"
_DIGEST = 16
_NAME = re.compile(r"shard-(\d{5,9})\.parquet")


class DamagedShardError(Exception):
    """A shard is not as it was written, or not where it was written; the message says why."""


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


class Finding(NamedTuple):
    """A shard of a folder: what it says of itself, or what is wrong with it."""

    path: Path
    info: ShardInfo | None
    problem: str = ""


def cache_folder(data_root: str | Path, cache_root: str | Path | None = None) -> Path:
    """Return the folder of all embedding caches: `cache_root`, or the one below `data_root`."""
    return Path(data_root).expanduser() / CACHES if cache_root is None else Path(cache_root).expanduser()


def shard_path(folder: Path, index: int) -> Path:
    """Return where a shard lies."""
    return folder / f"shard-{index:05d}.parquet"


def write_shard(
    path: Path,
    info: ShardInfo,
    texts: list[str | None],
    hashes: list[int],
    vectors: np.ndarray[Any, np.dtype[np.float32]],
) -> None:
    """Write a shard, which appears whole or not at all; only one process may write to a folder at a time.

    Args:
        path: As `shard_path` gives it; the name of the folder becomes part of the shard.
        info: What it says of itself.
        texts: `n` texts.
        hashes: Their hashes.
        vectors: `(n, act_size)`.
    """
    element = pa.field("element", pa.float32(), nullable=False)
    embedding = pa.FixedSizeListArray.from_arrays(
        pa.array(vectors.reshape(-1)), type=pa.list_(element, vectors.shape[1])
    )
    schema = pa.schema(
        [("text", pa.string()), ("hash", pa.uint64()), pa.field("embedding", embedding.type)],
        metadata={_META: json.dumps({"cache": path.parent.name} | vars(info))},
    )
    table = pa.Table.from_arrays(
        [pa.array(texts, pa.string()), pa.array(hashes, pa.uint64()), embedding], schema=schema
    )
    written = pa.BufferOutputStream()
    pq.write_table(
        table,
        written,
        compression={"text": "zstd", "hash": "none", "embedding.list.element": "none"},
        use_dictionary=False,
        write_statistics=False,
    )
    data = memoryview(written.getvalue())
    end = len(data) - _footer_size(data[-8:])
    pages, footer = data[:end], data[end:]
    digest = xxh3_128_digest(pages)
    partial = path.with_name("shard.tmp")  # one name for all, so that killed runs leave one file at most
    try:
        with partial.open("wb") as file:
            file.writelines((pages, digest, xxh3_128_digest(digest + footer), footer))
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def read_info(path: Path) -> ShardInfo:
    """Read what a shard says of itself, without its rows, once its checksum is verified.

    Raises:
        DamagedShardError: It is damaged, or was written to another folder.
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        _, _, footer = _sealed(file)
    return _info(path, pq.ParquetFile(pa.BufferReader(b"PAR1" + footer)))


def read_shard(path: Path, columns: list[str]) -> tuple[ShardInfo, pa.Table]:
    """Read a shard, once the checksums of all its bytes are verified.

    Raises:
        DamagedShardError: It is damaged, or was written to another folder.
        OSError: It cannot be read.
    """
    data = path.read_bytes()
    end, digest, _ = _sealed(io.BytesIO(data))
    if xxh3_128_digest(memoryview(data)[:end]) != digest:
        raise DamagedShardError("the checksum of its rows is wrong")
    parquet = pq.ParquetFile(pa.BufferReader(data))
    return _info(path, parquet), parquet.read(columns=columns)


def survey(folder: Path, thorough: bool = False) -> Iterator[Finding]:
    """Go through the shards of a folder in order, naming those that are damaged, missing or out of place.

    Args:
        folder: A folder of shards.
        thorough: Read the rows, too.
    """
    numbers = {int(name[1]) for path in folder.iterdir() if (name := _NAME.fullmatch(path.name))}
    expected, next_row = 0, 0
    for number in sorted(numbers):
        path, known = shard_path(folder, number), number == expected
        if not known:
            yield Finding(shard_path(folder, expected), None, "it is missing")
        expected = number + 1
        try:
            info = read_shard(path, [])[0] if thorough else read_info(path)
        except (DamagedShardError, OSError) as error:
            next_row = -1  # whatever the next one says
            yield Finding(path, None, str(error))
            continue
        if known and next_row not in (-1, info.first_row):
            yield Finding(path, None, out_of_place(info, next_row))
        else:
            yield Finding(path, info)
        next_row = info.next_row


def out_of_place(info: ShardInfo, next_row: int) -> str:
    """Say that a shard does not continue the one before it."""
    return f"it starts at row {info.first_row:,} of the corpus where row {next_row:,} must come"


def _footer_size(tail: bytes | memoryview) -> int:
    """Return the size of a Parquet footer, with the 8 bytes that end the file."""
    return int.from_bytes(tail[:4], "little") + 8


def _sealed(file: BinaryIO) -> tuple[int, bytes, bytes]:
    """Return where the pages end, their checksum, and the footer, whose own checksum is right."""
    size = file.seek(0, io.SEEK_END)
    file.seek(max(0, size - 8))
    end = size - _footer_size(file.read(8)) - 2 * _DIGEST
    if end >= 0:
        file.seek(end)
        digest, own, footer = file.read(_DIGEST), file.read(_DIGEST), file.read()
        if xxh3_128_digest(digest + footer) == own:
            return end, digest, footer
    raise DamagedShardError("its checksum is wrong, or an earlier version wrote it without one")


def _info(path: Path, parquet: pq.ParquetFile) -> ShardInfo:
    told = json.loads(parquet.metadata.metadata[_META])
    if (cache := told.pop("cache")) != path.parent.name:
        raise DamagedShardError(f"it belongs to {cache}")
    return ShardInfo(**told)

"""The codes of a corpus as files: block by block, never a dense matrix, and going on where an earlier run stopped."""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from collections.abc import Iterator, Sequence
from itertools import repeat
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.lib import format as npy
from scipy import sparse
from tqdm.auto import tqdm

from sae_kedro.activations.beside import columns_beside
from sae_kedro.activations.store import ActivationsStoreSBERT
from sae_kedro.corpora.base import Corpus
from sae_kedro.errors import InputError
from sae_kedro.sae.base import SAE
from sae_kedro.sae.io import weights_digest

CODES_TABLE, CODES_MATRIX = "codes.parquet", "codes.npz"
ROWS_TOGETHER = 2048
"""Rows encoded together, so that pre-activations stay in the processor's cache."""
_PARTS = "parts"


class CodeBlock(NamedTuple):
    """The codes of consecutive rows of a corpus."""

    first_row: int
    """Place of the first one among the rows that are used."""
    codes: sparse.csr_array
    """`(n, dict_size)`, float32, indices in order."""
    texts: list[str | None]


class Coded(NamedTuple):
    """A corpus as an SAE sees it, in memory."""

    codes: sparse.csr_array
    """`(n, dict_size)`."""
    texts: list[str | None]
    vectors: np.ndarray[Any, np.dtype[np.float32]]
    """`(n, act_size)`: the embeddings."""


def coded_corpus(sae: SAE, store: ActivationsStoreSBERT) -> Coded:
    """Return the codes, texts and embeddings of every row of a store's corpus, in its order."""
    blocks = list(encode_corpus(sae, store))
    vectors = np.concatenate([store.cache.read(index).vectors.float().numpy() for index in store.cache.iter_shards()])
    codes = sparse.vstack([block.codes for block in blocks], format="csr")
    return Coded(codes, [text for block in blocks for text in block.texts], vectors)


def encode_corpus(sae: SAE, store: ActivationsStoreSBERT) -> Iterator[CodeBlock]:
    """Yield the codes of every row of a store's corpus, in its order, a shard at a time.

    Args:
        sae: A trained SAE.
        store: Where embeddings come from; all rows count, whatever part they are in.
    """
    first = 0
    for index in store.cache.iter_shards():
        block = _encoded(sae, store, index, first)
        yield block
        first += len(block.texts)


def write_codes(
    sae: SAE, store: ActivationsStoreSBERT, folder: Path, columns: dict[str, Corpus] | None = None
) -> dict[str, Any]:
    """Write `codes.parquet` and `codes.npz` for all rows of a store's corpus.

    The table has `row` (the row of the matrix), `text`, `top_indices` and `top_acts` (strongest first), and `columns`;
    the matrix is what `scipy.sparse.load_npz` reads. Parts are kept until both are whole, so a run that was stopped
    goes on.

    Args:
        sae: A trained SAE.
        store: Where embeddings come from.
        folder: Where the files go.
        columns: More columns by name, as `open_column` opens them.

    Returns:
        `n_texts`, `l0` (the mean) and `folder`.

    Raises:
        InputError: The corpus changed, or the folder cannot be written.
    """
    columns = columns or {}
    parts = folder / _PARTS
    try:
        parts.mkdir(parents=True, exist_ok=True)
        _same_or_none(parts, sae, store, list(columns))
        counts = list(_written(sae, store, parts, columns))
        paths = [parts / f"{number:05d}.parquet" for number in range(len(counts))]
        _join_tables(paths, folder / CODES_TABLE)
        _join_matrices(paths, (sum(n for n, _ in counts), sae.dict_size), folder / CODES_MATRIX)
        shutil.rmtree(parts)
    except OSError as error:
        raise InputError(f"{folder} cannot be written: {error.strerror or error}") from error
    n_texts = sum(n for n, _ in counts)
    return {"n_texts": n_texts, "l0": sum(active for _, active in counts) / max(1, n_texts), "folder": str(folder)}


@torch.no_grad()
def _encoded(sae: SAE, store: ActivationsStoreSBERT, index: int, first: int) -> CodeBlock:
    vectors = store.cache.read(index).vectors
    return CodeBlock(first, sae.transform(vectors, batch_size=ROWS_TOGETHER), store.cache.texts(index))


def _same_or_none(parts: Path, sae: SAE, store: ActivationsStoreSBERT, columns: list[str]) -> None:
    """Remove parts that another SAE, corpus or choice of columns has left."""
    identity = hashlib.sha256(json.dumps([weights_digest(sae), store.data_key, columns]).encode()).hexdigest()
    known = parts / "identity"
    if not known.is_file() or known.read_text() != identity:
        shutil.rmtree(parts)
        parts.mkdir()
        known.write_text(identity)


def _written(
    sae: SAE, store: ActivationsStoreSBERT, parts: Path, columns: dict[str, Corpus]
) -> Iterator[tuple[int, int]]:
    """Write a part for every shard that has none; yield how many rows and active codes each has."""
    beside: Iterator[Sequence[tuple[object, ...]]] = repeat(())
    if columns:
        beside = columns_beside(store.cache, list(columns.values()))
    first = 0
    with tqdm(total=store.cache.n_texts if store.cache.complete else None, unit=" texts", desc="Codes") as bar:
        for index, values in zip(store.cache.iter_shards(), beside):  # noqa: B905 (the second may have no end)
            path = parts / f"{index:05d}.parquet"
            if not path.is_file():
                _write_part(path, _encoded(sae, store, index, first), values, list(columns))
            known = pq.read_metadata(path)
            n = known.num_rows
            active = int(known.metadata[b"active"])
            first += n
            bar.update(n)
            yield n, active


def _write_part(path: Path, block: CodeBlock, values: Sequence[tuple[object, ...]], names: list[str]) -> None:
    codes = block.codes
    offsets = pa.array(codes.indptr.astype(np.int32))
    order = np.lexsort((-codes.data, np.repeat(np.arange(codes.shape[0]), np.diff(codes.indptr))))
    table = {
        **{name: _column([row[place] for row in values]) for place, name in enumerate(names)},
        "row": pa.array(np.arange(block.first_row, block.first_row + len(block.texts))),
        "text": pa.array(block.texts, pa.string()),
        "top_indices": pa.ListArray.from_arrays(offsets, pa.array(codes.indices[order].astype(np.int32))),
        "top_acts": pa.ListArray.from_arrays(offsets, pa.array(codes.data[order])),
    }
    partial = path.with_suffix(".tmp")
    table = pa.table(table).replace_schema_metadata({"active": str(codes.nnz)})
    pq.write_table(table, partial, compression="zstd", compression_level=1, use_dictionary=False)
    partial.replace(path)


def _column(values: list[object]) -> pa.Array:
    """Make a column of values of one kind; of several kinds, a column of texts."""
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.array([None if value is None else str(value) for value in values])


def _join_tables(paths: list[Path], whole: Path) -> None:
    """Put the parts into one file, a row group each."""
    schema = pa.unify_schemas([pq.read_schema(path).remove_metadata() for path in paths], promote_options="permissive")
    partial = whole.with_suffix(".tmp")
    with pq.ParquetWriter(partial, schema, compression="zstd", compression_level=1, use_dictionary=False) as writer:
        for path in paths:
            writer.write_table(pq.read_table(path).cast(schema))
    partial.replace(whole)


def _join_matrices(paths: list[Path], shape: tuple[int, int], whole: Path) -> None:
    """Write a CSR matrix as `scipy.sparse.save_npz` does, of which a part is in memory at a time."""
    indptr = np.concatenate([np.zeros(1, np.int64), *(_lengths(path) for path in paths)]).cumsum()
    kind = np.int32 if indptr[-1] < 2**31 else np.int64
    partial = whole.with_suffix(".tmp")
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        small = {"indptr": indptr.astype(kind), "format": np.array(b"csr"), "shape": np.array(shape)}
        for name, array in small.items():
            with archive.open(_member(name), "w") as file:
                npy.write_array(file, array, allow_pickle=False)
        for name, place, dtype in (("indices", 0, kind), ("data", 1, np.float32)):
            with archive.open(_member(name), "w", force_zip64=True) as file:
                _header(file, int(indptr[-1]), np.dtype(dtype))
                for path in paths:
                    file.write(_sorted(path)[place].astype(dtype, copy=False).tobytes())
    partial.replace(whole)


def _member(name: str) -> zipfile.ZipInfo:
    return zipfile.ZipInfo(f"{name}.npy")  # of no date, so that the same codes are the same bytes


def _header(file: IO[bytes], n: int, dtype: np.dtype[Any]) -> None:
    npy.write_array_header_1_0(file, {"descr": npy.dtype_to_descr(dtype), "fortran_order": False, "shape": (n,)})


def _lengths(path: Path) -> np.ndarray[Any, np.dtype[np.int64]]:
    import pyarrow.compute as pc

    lengths = pc.list_value_length(pq.read_table(path, columns=["top_indices"])["top_indices"])
    return np.asarray(lengths.to_numpy(), dtype=np.int64)


def _sorted(path: Path) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Read indices and values of a part, in the order of indices."""
    table = pq.read_table(path, columns=["top_indices", "top_acts"]).combine_chunks()
    indices, values = (table[name].chunk(0).values.to_numpy() for name in table.column_names)
    rows = np.repeat(np.arange(table.num_rows), np.diff(table["top_indices"].chunk(0).offsets.to_numpy()))
    order = np.lexsort((indices, rows))
    return indices[order], values[order]

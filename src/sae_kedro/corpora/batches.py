"""Columns of Arrow's record batches, as Parquet and Arrow files hold them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from sae_kedro.corpora.columns import Column, Rows
from sae_kedro.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

Batches = Callable[[list[str]], "Iterable[pa.RecordBatch]"]
"""Yields batches that have the columns named."""


def rows_of_batches(file: Path, column: Column, schema: pa.Schema, batches: Batches) -> Iterator[object]:
    """Yield a column's value in every row; no other column is read.

    Raises:
        InputError: The column is not there, or the file is damaged.
    """
    import pyarrow as pa

    try:
        needed = column.needs(file, schema.names)
        kind = schema.field(needed[0]).type
        plain, vectors = needed == [column.name], column.holds_vectors
        read: Rows | None = None
        for batch in batches(needed):
            if plain and vectors and _is_list(kind):
                yield from _vectors(file, column, batch.column(column.name))
                continue
            if plain and not vectors and not pa.types.is_nested(kind):
                yield from batch.column(column.name).to_pylist()
                continue
            for record in batch.to_pylist():
                read = read or column.reader(file, record)
                yield from read(record)
    except InputError:
        raise
    except (pa.ArrowException, ValueError, OverflowError) as error:  # a date may be none that Python knows
        raise unreadable(file, error) from error


def _is_list(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return any(test(kind) for test in (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list))


def _vectors(file: Path, column: Column, lists: pa.Array) -> Iterator[object]:
    """Yield lists of numbers as arrays, and None for those that are null; numbers that are null become NaN."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pa.types.is_floating(lists.type.value_type):
        raise InputError(
            f"{column.key}={column.name!r} in {file} holds lists of {lists.type.value_type}; embeddings must be "
            "float16, float32 or float64, so convert them first"
        )
    values = lists.flatten().to_numpy(zero_copy_only=False)
    lengths = pc.fill_null(pc.list_value_length(lists), -1).to_numpy(zero_copy_only=False)
    ends = np.cumsum(np.maximum(lengths, 0))
    for length, end in zip(lengths.tolist(), ends.tolist(), strict=True):
        yield values[end - length : end] if length >= 0 else None


def unreadable(file: Path, error: Exception) -> InputError:
    """Say that a file is not what its name says."""
    return InputError(f"{file} cannot be read as {file.suffix[1:]}: {' '.join(str(error).split())}")

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
        plain = needed == [column.name] and not pa.types.is_nested(schema.field(column.name).type)
        read: Rows | None = None
        for batch in batches(needed):
            if plain:
                yield from batch.column(column.name).to_pylist()
                continue
            for record in batch.to_pylist():
                read = read or column.reader(file, record)
                yield from read(record)
    except InputError:
        raise
    except (pa.ArrowException, ValueError, OverflowError) as error:  # a date may be none that Python knows
        raise unreadable(file, error) from error


def unreadable(file: Path, error: Exception) -> InputError:
    """Say that a file is not what its name says."""
    return InputError(f"{file} cannot be read as {file.suffix[1:]}: {' '.join(str(error).split())}")

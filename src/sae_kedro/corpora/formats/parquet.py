"""Parquet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sae_kedro.corpora.columns import Column, Rows
from sae_kedro.errors import InputError

ENDINGS = (".parquet",)
HAS_COLUMNS = True


def rows(file: Path, column: Column) -> Iterator[object]:
    """Yield the column's value in every row; no other column is read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(file)
        schema = table.schema_arrow
        needed = column.needs(file, schema.names)
        plain = needed == [column.name] and not pa.types.is_nested(schema.field(column.name).type)
        read: Rows | None = None
        for batch in table.iter_batches(batch_size=4096, columns=needed):
            if plain:
                yield from batch.column(0).to_pylist()
                continue
            for record in batch.to_pylist():
                read = read or column.reader(file, record)
                yield from read(record)
    except InputError:
        raise
    except (pa.ArrowException, ValueError, OverflowError) as error:  # a date may be none that Python knows
        raise InputError(f"{file} cannot be read as parquet: {' '.join(str(error).split())}") from error

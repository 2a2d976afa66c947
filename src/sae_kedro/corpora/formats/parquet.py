"""Parquet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sae_kedro.corpora.columns import Column
from sae_kedro.errors import InputError

ENDINGS = (".parquet",)
HAS_COLUMNS = True


def rows(file: Path, column: Column) -> Iterator[object]:
    """Yield the column's value in every row."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(file)
        column.check(file, table.schema_arrow.names)
        for batch in table.iter_batches(batch_size=4096, columns=[column.name]):
            yield from batch.column(0).to_pylist()
    except InputError:
        raise
    except (pa.ArrowException, ValueError, OverflowError) as error:  # a date may be none that Python knows
        raise InputError(f"{file} cannot be read as parquet: {' '.join(str(error).split())}") from error

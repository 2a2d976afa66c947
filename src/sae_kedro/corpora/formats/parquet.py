"""Parquet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sae_kedro.corpora.batches import rows_of_batches, unreadable
from sae_kedro.corpora.columns import Column
from sae_kedro.corpora.text_files import openable

ENDINGS = (".parquet",)
HAS_COLUMNS = True


def likely_rows(file: Path) -> int | None:
    """Return what the metadata says."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return int(pq.read_metadata(openable(file)).num_rows)
    except (pa.ArrowException, OSError):  # whoever reads it says what is wrong
        return None


def rows(file: Path, column: Column) -> Iterator[object]:
    """Yield the column's value in every row; no other column is read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(openable(file))
    except (pa.ArrowException, ValueError) as error:
        raise unreadable(file, error) from error
    batches = lambda columns: table.iter_batches(batch_size=4096, columns=columns)  # noqa: E731
    yield from rows_of_batches(file, column, table.schema_arrow, batches)

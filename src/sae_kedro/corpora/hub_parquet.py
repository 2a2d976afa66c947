"""A column of a Parquet file on the Hugging Face Hub."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sae_kedro.corpora.batches import rows_of_batches, unreadable
from sae_kedro.corpora.columns import Column
from sae_kedro.corpora.hub_files import LARGEST_REQUEST, HubFile

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq


def column_rows(file: HubFile, column: Column, features: Any, start: int) -> tuple[int, Iterator[object]]:
    """Read a column from a row on, or from shortly before it; of other columns nothing is fetched.

    Args:
        file: The file.
        column: The column.
        features: Those that the dataset declares, by column; they are what values become. None: those of the file.
        start: The row.

    Returns:
        How many rows are passed over, at most `start`, and those that follow. Rows are passed over by row groups, and
        only where each record is one row.

    Raises:
        InputError: The column is not there, or the file is damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq
    from datasets.table import table_cast

    place = Path(file.name)
    try:
        table = pq.ParquetFile(file, buffer_size=LARGEST_REQUEST, pre_buffer=False)
    except (pa.ArrowException, ValueError) as error:
        raise unreadable(place, error) from error
    schema = table.schema_arrow
    needed = column.needs(place, schema.names)
    groups = [table.metadata.row_group(number) for number in range(table.num_row_groups)]
    spans = [list(_spans(group, needed)) for group in groups]
    file.want(span for of_group in spans for span in of_group)
    if features and all(name in features for name in needed):
        schema = pa.schema([features.arrow_schema.field(name) for name in needed])
    first = passed = 0
    if not any(pa.types.is_nested(schema.field(name).type) for name in needed):
        while first < len(groups) and passed + groups[first].num_rows <= start:
            passed += groups[first].num_rows
            first += 1

    def batches(columns: list[str]) -> Iterator[pa.RecordBatch]:
        wanted = pa.schema([schema.field(name) for name in columns])
        for number in range(first, len(groups)):
            file.drop(before=min(start for start, _ in spans[number]))
            for batch in table.iter_batches(4096, row_groups=[number], columns=columns, use_threads=False):
                yield from table_cast(pa.Table.from_batches([batch]), wanted).to_batches()
        file.drop(before=file.size)

    return passed, rows_of_batches(place, column, schema, batches)


def _spans(group: pq.RowGroupMetaData, columns: list[str]) -> Iterator[tuple[int, int]]:
    """Yield where in the file the columns of a row group lie."""
    for number in range(group.num_columns):
        chunk = group.column(number)
        if any(f"{chunk.path_in_schema}.".startswith(f"{name}.") for name in columns):
            start = min(chunk.dictionary_page_offset or chunk.data_page_offset, chunk.data_page_offset)
            yield start, start + chunk.total_compressed_size

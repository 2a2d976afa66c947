"""Arrow's own files, of both kinds: streams, as the library `datasets` saves them, and files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sae_kedro.corpora.batches import rows_of_batches, unreadable
from sae_kedro.corpora.columns import Column
from sae_kedro.corpora.remote import is_local

ENDINGS = (".arrow",)
HAS_COLUMNS = True


def rows(file: Path, column: Column) -> Iterator[object]:
    """Yield the column's value in every row."""
    import pyarrow as pa

    with pa.memory_map(str(file)) if is_local(file) else pa.PythonFile(file.open("rb"), "r") as source:
        try:
            try:
                table = pa.ipc.open_stream(source)
                batches = iter(table)
            except pa.ArrowInvalid:
                table = pa.ipc.open_file(source)
                batches = (table.get_batch(number) for number in range(table.num_record_batches))
        except (pa.ArrowException, ValueError) as error:
            raise unreadable(file, error) from error
        chosen = lambda columns: (batch.select(columns) for batch in batches)  # noqa: E731
        yield from rows_of_batches(file, column, table.schema, chosen)

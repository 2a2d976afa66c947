"""A text a line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sae_kedro.corpora.columns import Column
from sae_kedro.corpora.text_files import count_lines, is_utf8, open_text

ENDINGS = (".txt",)
HAS_COLUMNS = False
likely_rows = count_lines


def rows(file: Path, column: Column) -> Iterator[object]:
    """Yield every line without its end."""
    with open_text(file) as lines:
        for number, line in enumerate(lines, start=1):
            yield line.rstrip("\r\n") if is_utf8(line) else column.bad(file, number, "not UTF-8")

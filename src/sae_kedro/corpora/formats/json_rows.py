"""JSON: an object or a text a line, or one array of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from sae_kedro.corpora.base import BadLine
from sae_kedro.corpora.columns import Column, Rows
from sae_kedro.corpora.text_files import count_lines, is_utf8, open_text
from sae_kedro.errors import InputError

ENDINGS = (".jsonl", ".json")
HAS_COLUMNS = True


def rows(file: Path, column: Column) -> Iterator[object]:
    """Yield the column's value of every object, or every text that stands where an object would."""
    read: Rows | None = None
    for record in _records(file, column):
        if isinstance(record, BadLine):
            yield record
        elif isinstance(record, dict):
            read = read or column.reader(file, record)
            yield from read(record)
        elif column.holds_texts:
            yield record
        else:
            read = read or column.reader(file, {})
            yield None


def likely_rows(file: Path) -> int | None:
    """Count lines, which are rows unless one array holds them all."""
    return count_lines(file) if file.suffix == ".jsonl" else None


def _records(file: Path, column: Column) -> Iterator[object]:
    with open_text(file) as handle:
        lines = ((number, line) for number, line in enumerate(handle, start=1) if line.strip())
        first, start = next(lines, (1, "[]"))
        if start.lstrip().startswith("["):
            yield from _array(file, first, start + handle.read())
        else:
            yield from (_record(file, column, number, line) for number, line in chain([(first, start)], lines))


def _record(file: Path, column: Column, number: int, line: str) -> object:
    if not is_utf8(line):
        return column.bad(file, number, "not UTF-8")
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        return column.bad(file, number, "not valid JSON", error)


def _array(file: Path, number: int, text: str) -> list[object]:
    try:
        records: list[object] = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file}, line {number}: not valid JSON ({error})") from error
    if not is_utf8(text):
        raise InputError(f"{file} cannot be read as json: not UTF-8")
    return records

"""Comma-, semicolon-, bar- and tab-separated values, with a header."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from itertools import accumulate, chain
from pathlib import Path
from typing import NamedTuple

from sae_kedro.corpora.columns import Column
from sae_kedro.corpora.text_files import count_lines, ending, is_utf8, open_text
from sae_kedro.errors import InputError

ENDINGS = (".csv", ".tsv")
HAS_COLUMNS = True
likely_rows = count_lines
MOST_LINES = 1000
"""Lines that one quoted field of a tab-separated file may have."""


class Line(NamedTuple):
    """One row of a table as it stands in a file."""

    number: int
    """Of its first line, from 1 on."""
    n_lines: int
    fields: list[str]
    problem: str = ""
    detail: str = ""


def rows(file: Path, column: Column) -> Iterator[object]:
    """Yield the column's value in every row; the header tells what separates the fields."""
    csv.field_size_limit(1 << 28)
    with open_text(file) as handle:
        first = next(handle, None)
        if first is None:
            return
        delimiter = _delimiter(first, "\t" if ending(file) == ".tsv" else ",")
        table = (_tabbed if delimiter == "\t" else _quoted)(chain([first], handle), delimiter)
        header = next(table)
        if header.problem or not is_utf8("".join(header.fields)):
            problem = header.problem or "not UTF-8"
            raise InputError(f"{file}, line {header.number}, which names the columns: {problem}")
        names = header.fields
        read = column.reader(file, dict.fromkeys(names))
        place = names.index(column.name) if column.name in names else None  # of a plain column, which is faster
        for line in table:
            problem, detail = line.problem, line.detail
            if not problem and not is_utf8("".join(line.fields)):
                problem = "not UTF-8"
            if not problem and line.fields and len(line.fields) != len(names):
                problem, detail = "wrong number of fields", f"{len(line.fields)} instead of {len(names)}"
            if problem:  # a quotation mark may have swallowed several lines, each of which counts
                yield from [column.bad(file, line.number, problem, detail)] * line.n_lines
            elif line.fields and place is not None:
                yield line.fields[place]
            elif line.fields:
                yield from read(dict(zip(names, line.fields, strict=True)))


def _delimiter(header: str, usual: str) -> str:
    """Return what separates the names of the columns: what is usual for the file, or else what they have most of."""
    most = max(",;\t|", key=header.count)
    return usual if usual in header or most not in header else most


def _quoted(lines: Iterator[str], delimiter: str) -> Iterator[Line]:
    """Read fields that may be quoted, as RFC 4180 has them."""
    table = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        start = table.line_num
        try:
            fields, problem, detail = next(table), "", ""
        except StopIteration:
            return
        except csv.Error as error:
            fields, problem, detail = [], "not valid CSV", str(error)
        yield Line(start + 1, table.line_num - start, fields, problem, detail)


def _tabbed(lines: Iterator[str], delimiter: str) -> Iterator[Line]:
    """Read fields between tabs. Most such files know no quoting, and a quotation mark is a letter; some are quoted.

    A field is quoted if it starts and ends with a mark and all between them are doubled. A line that ends within such
    a field goes on in those that follow, unless each of them is a whole row by itself.
    """
    width: int | None = None
    waiting: list[str] = []
    number = 1
    while True:
        line = waiting.pop(0) if waiting else next(lines, None)
        if line is None:
            return
        fields = line.rstrip("\r\n").split(delimiter)
        found = Line(number, 1, [_unquoted(field) for field in fields] if line.strip("\r\n") else [])
        opens = fields[-1].startswith('"') and not _is_quoted(fields[-1])
        if width is None:
            width = len(fields)
        elif (opens or len(fields) != width) and '"' in line:
            while len(waiting) < MOST_LINES and (more := next(lines, None)) is not None:
                waiting.append(more)
            found = _joined(line, waiting, width, number) or found
        del waiting[: found.n_lines - 1]
        number += found.n_lines
        yield found


def _joined(line: str, following: list[str], width: int, number: int) -> Line | None:
    """Read a row over several lines if that is what its quotation marks say, and the lines alone are no rows."""
    lines = [line, *following]
    marks = accumulate(part.count('"') for part in lines)
    end = next((number for number, so_far in enumerate(marks, start=1) if so_far % 2 == 0), None)
    if end is None:
        return None
    try:
        parsed = list(csv.reader(lines[:end], delimiter="\t", strict=True))
    except csv.Error:
        return None
    rows_by_themselves = end > 1 and all(len(other.split("\t")) == width for other in lines[1:end])
    if len(parsed) != 1 or len(parsed[0]) != width or rows_by_themselves:
        return None
    return Line(number, end, parsed[0])


def _is_quoted(field: str) -> bool:
    return len(field) > 1 and field[0] == field[-1] == '"' and '"' not in field[1:-1].replace('""', "")


def _unquoted(field: str) -> str:
    return field[1:-1].replace('""', '"') if _is_quoted(field) else field

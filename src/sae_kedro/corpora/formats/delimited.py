"""Comma- and tab-separated values, with a header."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from sae_kedro.corpora.columns import Column
from sae_kedro.corpora.text_files import ending, is_utf8, open_text
from sae_kedro.errors import InputError

ENDINGS = (".csv", ".tsv")
HAS_COLUMNS = True


def rows(file: Path, column: Column) -> Iterator[object]:
    """Yield the column's value in every row."""
    csv.field_size_limit(1 << 28)
    with open_text(file) as handle:
        table = csv.reader(handle, delimiter="\t" if ending(file) == ".tsv" else ",", strict=True)
        header: list[str] | None = None
        while True:
            line, row, reason, detail = table.line_num + 1, list[str](), "", ""
            try:
                row = next(table)
            except StopIteration:
                return
            except csv.Error as error:
                reason, detail = "not valid CSV", str(error)
            if not is_utf8("".join(row)):
                reason = "not UTF-8"
            if header is None:
                if reason:
                    raise InputError(f"{file}, line {line}, which names the columns: {reason}")
                column.check(file, row)
                header, place = row, row.index(column.name)
                continue
            if not reason and row and len(row) != len(header):
                reason, detail = "wrong number of fields", f"{len(row)} instead of {len(header)}"
            if reason:  # a quotation mark may have swallowed several lines, each of which counts
                yield from [column.bad(file, line, reason, detail)] * (table.line_num + 1 - line)
            elif row:
                yield row[place]

"""One file, one format of local files: its `ENDINGS`, whether it `HAS_COLUMNS`, `rows(file, column)`.

It may have `likely_rows(file)`, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from sae_kedro.corpora.columns import Column
from sae_kedro.discovery import submodules


class Format(NamedTuple):
    """What is known of a format."""

    rows: Callable[[Path, Column], Iterator[object]]
    """Yields the values of a column of a file, or its texts where it has no columns."""
    has_columns: bool
    likely_rows: Callable[[Path], int | None]
    """Returns about how many rows a file has, if that is cheap to tell."""


FORMATS = {
    ending: Format(module.rows, module.HAS_COLUMNS, getattr(module, "likely_rows", lambda _: None))
    for module in submodules(__name__).values()
    for ending in module.ENDINGS
}
"""Formats by the ending of a file's name before `.gz`."""

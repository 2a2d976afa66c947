"""One file, one format of local files: its `ENDINGS`, and `rows(file, column)`, which yields a column's values."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from sae_kedro.corpora.columns import Column
from sae_kedro.discovery import submodules

FORMATS: dict[str, Callable[[Path, Column], Iterator[object]]] = {
    ending: module.rows for module in submodules(__name__).values() for ending in module.ENDINGS
}
"""What reads a file, by the ending of its name before `.gz`."""

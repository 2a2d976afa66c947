"""Files of text on the disk: their ending, their encoding, their compression."""

from __future__ import annotations

import codecs
import gzip
import re
from pathlib import Path
from typing import IO

from sae_kedro.errors import InputError

_ESCAPED = re.compile("[\udc80-\udcff]")  # what the decoder puts in the place of bytes that are not UTF-8


def ending(file: Path) -> str:
    """Return the ending that tells the format of a file: `.csv` of `a.csv` and of `a.csv.gz`."""
    return "." + file.name.removesuffix(".gz").rpartition(".")[2]


def open_text(file: Path) -> IO[str]:
    """Open a plain or gzipped file as UTF-8; what is not becomes marks that `is_utf8` finds.

    Raises:
        InputError: It is UTF-16.
    """
    zipped = file.suffix == ".gz"
    with gzip.open(file) if zipped else file.open("rb") as raw:
        if raw.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            raise InputError(f"{file} is UTF-16; save it as UTF-8")
    if zipped:
        return gzip.open(file, "rt", encoding="utf-8-sig", errors="surrogateescape", newline="")
    return file.open(encoding="utf-8-sig", errors="surrogateescape", newline="")


def is_utf8(text: str) -> bool:
    """Tell whether a text from `open_text` was UTF-8 in the file."""
    return text.isascii() or not _ESCAPED.search(text)

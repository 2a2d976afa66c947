"""Files of text: their ending, their encoding, their compression."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import re
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from sae_kedro.corpora.remote import is_local
from sae_kedro.errors import InputError

if TYPE_CHECKING:
    from hashlib import _Hash as Hash

_ESCAPED = re.compile("[\udc80-\udcff]")  # what the decoder puts in the place of bytes that are not UTF-8


def _zstd(source: Path | IO[bytes]) -> IO[bytes]:
    import pyarrow as pa

    stream: IO[bytes] = pa.input_stream(str(source) if isinstance(source, Path) else source, compression="zstd")
    return stream


def _zip(source: Path | IO[bytes]) -> IO[bytes]:
    archive = zipfile.ZipFile(source)
    members = [member for member in archive.infolist() if not member.is_dir()]
    if len(members) != 1:
        raise InputError(f"{source} holds {len(members)} files; one is read, so unpack it and give the folder")
    return archive.open(members[0])


COMPRESSED: dict[str, Callable[[Any], Any]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
    ".zst": _zstd,
    ".zip": _zip,
}
"""What opens a compressed file, by the end of its name."""
LARGEST_COUNTED = 1 << 26
"""Bytes of the largest file whose lines are counted."""
DAMAGE = (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile)
"""What reading a damaged file raises."""


def ending(file: Path) -> str:
    """Return the ending that tells the format of a file: `.csv` of `a.csv` and of `a.csv.gz`."""
    name = file.name.removesuffix(file.suffix) if file.suffix in COMPRESSED else file.name
    return "." + name.rpartition(".")[2]


def open_text(file: Path) -> IO[str]:
    """Open a plain or compressed file as UTF-8; what is not becomes marks that `is_utf8` finds.

    Raises:
        InputError: It is UTF-16.
    """
    with _opened(file) as raw:
        if raw.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            raise InputError(f"{file} is UTF-16; save it as UTF-8")
    return io.TextIOWrapper(_opened(file), encoding="utf-8-sig", errors="surrogateescape", newline="")


def _opened(file: Path) -> IO[bytes]:
    source = openable(file)
    if file.suffix in COMPRESSED:
        stream: IO[bytes] = COMPRESSED[file.suffix](source)
        return stream
    return source.open("rb") if isinstance(source, Path) else source


def openable(file: Path) -> Path | IO[bytes]:
    """Return what libraries can open: a file on the disk as it is, and one behind a URL opened."""
    return file if is_local(file) else file.open("rb")


def count_lines(file: Path) -> int | None:
    """Count the lines of a file, if it is plain and small enough to be read twice."""
    if not is_local(file) or file.suffix in COMPRESSED or file.stat().st_size > LARGEST_COUNTED:
        return None
    content = file.read_bytes()
    return content.count(b"\n") + (not content.endswith(b"\n"))


def is_utf8(text: str) -> bool:
    """Tell whether a text from `open_text` was UTF-8 in the file."""
    return text.isascii() or not _ESCAPED.search(text)


def add_file(digest: Hash, file: Path) -> None:
    """Add name, size and contents of a file to a hash; of one above 64 MiB its time or version, start and end."""
    status = file.stat()
    digest.update(f"{file.name}:{status.st_size}".encode())
    with file.open("rb") as handle:
        if status.st_size <= 1 << 26:
            digest.update(handle.read())
        else:
            version = status.st_mtime_ns if is_local(file) else file.fs.ukey(file.path)  # type: ignore[attr-defined]
            digest.update(handle.read(1 << 20) + str(version).encode())
            handle.seek(-(1 << 20), io.SEEK_END)
            digest.update(handle.read())

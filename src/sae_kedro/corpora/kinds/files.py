"""Files on the disk or behind a URL: one, those of a folder, or those that a glob matches."""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from pathlib import Path
from typing import Any

from sae_kedro.corpora.base import Source, rejected, without_columns
from sae_kedro.corpora.columns import Column, column_of
from sae_kedro.corpora.formats import FORMATS
from sae_kedro.corpora.remote import is_local, is_url, listed, told
from sae_kedro.corpora.text_files import COMPRESSED, DAMAGE, add_file, ending
from sae_kedro.errors import InputError, nearest


class LocalFiles(Source):
    """One or more files of known formats, plain or compressed.

    Args:
        name: The path as it was given.
        files: The files.
        column: The column to read.
    """

    precedence = 1

    def __init__(self, name: str, files: list[Path], column: Column) -> None:
        self.name, self.files, self.column = name, files, column

    @classmethod
    def open(cls, cfg: dict[str, Any], key: str) -> LocalFiles | None:
        """Open the files behind a path, the texts of which must be at least one."""
        path = str(cfg["dataset_path"])
        if not (files := _found(path, str(cfg["dataset_split"]))):
            return None
        corpus = cls(path, files, column_of(cfg, key))
        if key == "text_column":
            corpus._check_texts()
        elif not all(FORMATS[ending(file)].has_columns for file in files):
            raise without_columns(cfg, key)
        return corpus

    @property
    def fingerprint(self) -> str:
        """Hash of the files' contents and of how they are read."""
        digest = hashlib.sha256(repr((self.column.name, self.column.bad_lines)).encode())
        with self._told():
            for file in self.files:
                add_file(digest, file)
        return digest.hexdigest()

    @property
    def likely_rows(self) -> int | None:
        """What the formats of the files tell, all together."""
        counts = [FORMATS[ending(file)].likely_rows(file) for file in self.files]
        return None if None in counts else sum(filter(None, counts))

    def rows(self, start: int = 0) -> Iterator[object]:
        """Yield the column of every file, files in sorted order."""
        return islice((row for file in self.files for row in self._read(file)), start, None)

    def _read(self, file: Path) -> Iterator[object]:
        kind = ending(file)
        try:
            with self._told():
                yield from FORMATS[kind].rows(file, self.column)
        except DAMAGE as error:
            raise InputError(f"{file} cannot be read as {kind[1:]}: {error}") from error

    def _told(self) -> AbstractContextManager[None]:
        """Turn what goes wrong with a URL into a sentence; what goes wrong on the disk has its own."""
        return nullcontext() if all(map(is_local, self.files)) else told(self.name)

    def _check_texts(self) -> None:
        reasons: dict[str, int] = {}
        for row in self.rows():
            if (reason := rejected(row)) is None:
                return
            reasons[reason] = reasons.get(reason, 0) + 1
        if not reasons:
            raise InputError(f"dataset_path={self.name!r} holds no text: it has no row")
        counted = ", ".join(f"{number} {reason}" for reason, number in reasons.items())
        state = "empty" if reasons.keys() <= {"empty", "null"} else "not a text"
        raise InputError(
            f"dataset_path={self.name!r} holds no text: every row of {self.column.name!r} is {state} ({counted})"
        )


def _found(path: str, split: str) -> list[Path]:
    """List the readable files behind a file name, a folder or a glob, sorted by name."""
    if is_url(path):
        found = listed(path)
        files = [file for file in found if ending(file) in FORMATS]
        if not files:
            raise InputError(
                f"dataset_path={path!r} is not one of {', '.join(FORMATS)}, plain or with {', '.join(COMPRESSED)}"
            )
        return files
    location = Path(os.path.expanduser(path))
    if _is_file(location / "dataset_dict.json"):  # what `datasets` saves of several splits
        splits = sorted(entry.name for entry in location.iterdir() if entry.is_dir())
        if split not in splits:
            named = f"{', '.join(splits)}{nearest(split, splits)}"
            raise InputError(f"dataset_split={split!r} is not in {path}, whose splits are {named}")
        location /= split
    if _is_file(location / "state.json") and _is_file(location / "dataset_info.json"):
        return sorted(location.glob("*.arrow"))
    try:
        if location.is_file():
            if ending(location) not in FORMATS:
                raise InputError(
                    f"dataset_path={path!r} is not one of {', '.join(FORMATS)}, plain or with {', '.join(COMPRESSED)}"
                )
            return [location]
        is_folder = location.is_dir()
        found = list(location.rglob("*") if is_folder else map(Path, glob.glob(str(location), recursive=True)))
        files = sorted(file for file in found if file.is_file() and ending(file) in FORMATS)
    except OSError as error:
        raise InputError(f"dataset_path={path!r} cannot be read: {error.strerror}") from error
    if not files and (found or is_folder):
        fault = "is a folder without" if is_folder else "matches no"
        raise InputError(f"dataset_path={path!r} {fault} {', '.join(FORMATS)} files")
    return files


def _is_file(place: Path) -> bool:
    try:
        return place.is_file()
    except (OSError, ValueError):  # no name that a file can have
        return False


KIND = LocalFiles

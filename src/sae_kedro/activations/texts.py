"""A corpus as a stream of rows: a Hub dataset, local files, or the docstrings of the running Python."""

from __future__ import annotations

import codecs
import csv
import glob
import gzip
import hashlib
import io
import json
import os
import re
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any, NamedTuple

from sae_kedro.activations.python_docs import environment_fingerprint, paragraphs
from sae_kedro.errors import InputError, nearest

PYTHON_DOCS = "python-docs"
FILE_KINDS = (".jsonl", ".json", ".csv", ".tsv", ".parquet", ".txt")
_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")
_ESCAPED = re.compile("[\udc80-\udcff]")  # what the decoder puts in the place of bytes that are not UTF-8
_MOST_COLUMNS = 50


class BadLine(NamedTuple):
    """Takes the place of a line that cannot be read in the stream of rows, where `bad_lines` is `skip`."""

    reason: str


class Corpus(ABC):
    """An ordered, re-readable stream of rows, of which those that are non-empty texts are used."""

    name: str

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """A hash that changes whenever the rows may change."""

    @abstractmethod
    def rows(self, start: int = 0) -> Iterator[object]:
        """Yield the raw value of every row from row `start` on."""


def open_corpus(cfg: dict[str, Any]) -> Corpus:
    """Open the corpus that `dataset_path` names and make sure that local files hold at least one text.

    Args:
        cfg: Reads `dataset_path`, `dataset_config`, `dataset_split`, `dataset_revision`, `text_column` and `bad_lines`.

    Raises:
        InputError: The path does not exist, the Hub cannot be reached, the column is missing, all rows are empty, or
            a line before the first text cannot be read.
    """
    path = str(cfg["dataset_path"])
    if path == PYTHON_DOCS:
        return PythonDocs()
    if files := _local_files(path):
        corpus = LocalFiles(path, files, cfg["text_column"], bad_lines=cfg["bad_lines"])
        reasons: dict[str, int] = {}
        for row in corpus.rows():
            if (reason := rejected(row)) is None:
                return corpus
            reasons[reason] = reasons.get(reason, 0) + 1
        counted = ", ".join(f"{number} {reason}" for reason, number in reasons.items()) or "no row at all"
        state = "empty" if reasons.keys() <= {"empty", "null"} else "not a text"
        raise InputError(
            f"dataset_path={path!r} holds no text: every row of {cfg['text_column']!r} is {state} ({counted})"
        )
    if _HUB_NAME.fullmatch(path) and not path.endswith((*FILE_KINDS, ".gz")) and not path.startswith("."):
        return HubDataset(path, cfg)
    raise InputError(_missing(path))


def open_labels(cfg: dict[str, Any]) -> Corpus:
    """Open the column that `label_column` names as a stream beside that of the texts, row for row.

    Args:
        cfg: As for `open_corpus`, and `label_column`.

    Raises:
        InputError: The corpus has no columns, or not this one.
    """
    path, column = str(cfg["dataset_path"]), str(cfg["label_column"])
    files = [] if path == PYTHON_DOCS else _local_files(path)
    if path == PYTHON_DOCS or any(file.name.removesuffix(".gz").endswith(".txt") for file in files):
        raise InputError(f"label_column={column!r} needs a corpus with columns, and {path!r} has none; set it to null")
    labels: Corpus = (
        LocalFiles(path, files, column, "label_column", cfg["bad_lines"])
        if files
        else HubDataset(path, cfg, "label_column")
    )
    next(iter(labels.rows()), None)  # looks at the columns
    return labels


def rejected(row: object) -> str | None:
    """Say why a row is not used (`null`, `not text`, `empty` or what is wrong with its line), or None for a text."""
    if row is None:
        return "null"
    if isinstance(row, BadLine):
        return row.reason
    if not isinstance(row, str):
        return "not text"
    return None if row.strip() else "empty"


def clean_text(text: str) -> str:
    """Replace lone surrogates, which no UTF-8 file can hold."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def text_hash(text: str) -> int:
    """Return a 64-bit hash of a text, the same on every machine; it decides the held-out split."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8"), digest_size=8).digest(), "little")


class PythonDocs(Corpus):
    """English paragraphs from the docstrings of the standard library and the installed packages."""

    name = PYTHON_DOCS

    @property
    def fingerprint(self) -> str:
        """Changes with the interpreter and with the installed distributions."""
        return environment_fingerprint()

    def rows(self, start: int = 0) -> Iterator[str]:
        """Yield paragraphs in a fixed order."""
        return islice(paragraphs(), start, None)


class LocalFiles(Corpus):
    """One or more `.jsonl`, `.json`, `.csv`, `.tsv`, `.parquet` or `.txt` files, plain or gzipped.

    Args:
        name: The path as it was given.
        files: The files.
        text_column: The column to read.
        key: The configuration key that names the column.
        bad_lines: What a line that cannot be read does: `fail`, or `skip`, which leaves a `BadLine` in its place. None
            fails, too, and does not offer to skip.
    """

    def __init__(
        self,
        name: str,
        files: list[Path],
        text_column: str,
        key: str = "text_column",
        bad_lines: str | None = None,
    ) -> None:
        self.name, self.files, self.text_column = name, files, text_column
        self._key, self._bad_lines = key, bad_lines

    @property
    def fingerprint(self) -> str:
        """Hash of the files' contents and of how they are read; files above 64 MiB by sample, size and time."""
        digest = hashlib.sha256(repr((self.text_column, self._bad_lines)).encode())
        for file in self.files:
            size = file.stat().st_size
            digest.update(f"{file.name}:{size}".encode())
            with file.open("rb") as handle:
                if size <= 1 << 26:
                    digest.update(handle.read())
                else:
                    digest.update(handle.read(1 << 20) + str(file.stat().st_mtime_ns).encode())
                    handle.seek(-(1 << 20), io.SEEK_END)
                    digest.update(handle.read())
        return digest.hexdigest()

    def rows(self, start: int = 0) -> Iterator[object]:
        """Yield the text column of every file, files in sorted order."""
        return islice((row for file in self.files for row in self._read(file)), start, None)

    def _read(self, file: Path) -> Iterator[object]:
        kind = Path(file.name.removesuffix(".gz")).suffix
        try:
            if kind == ".parquet":
                yield from self._parquet(file)
                return
            with _open_text(file) as handle:
                if kind == ".txt":
                    yield from self._txt(file, handle)
                elif kind in (".csv", ".tsv"):
                    yield from self._csv(file, handle, "\t" if kind == ".tsv" else ",")
                else:
                    yield from self._json(file, handle)
        except (OSError, zlib.error, EOFError) as error:
            raise InputError(f"{file} cannot be read as {kind[1:]}: {error}") from error

    def _bad(self, file: Path, line: int, reason: str, detail: object = "") -> BadLine:
        """Do with a line that cannot be read what `bad_lines` says."""
        if self._bad_lines == "skip":
            return BadLine(reason)
        offer = "; set bad_lines=skip to leave such lines out, counted" if self._bad_lines else ""
        raise InputError(f"{file}, line {line}: {reason}{f' ({detail})' if detail else ''}{offer}")

    def _txt(self, file: Path, handle: IO[str]) -> Iterator[object]:
        for number, line in enumerate(handle, start=1):
            yield line.rstrip("\r\n") if _is_utf8(line) else self._bad(file, number, "not UTF-8")

    def _csv(self, file: Path, handle: IO[str], delimiter: str) -> Iterator[object]:
        csv.field_size_limit(1 << 28)
        table = csv.reader(handle, delimiter=delimiter, strict=True)
        header: list[str] | None = None
        while True:
            line, row, reason, detail = table.line_num + 1, list[str](), "", ""
            try:
                row = next(table)
            except StopIteration:
                return
            except csv.Error as error:
                reason, detail = "not valid CSV", str(error)
            if not _is_utf8("".join(row)):
                reason = "not UTF-8"
            if header is None:
                if reason:
                    raise InputError(f"{file}, line {line}, which names the columns: {reason}")
                self._check_column(file, row)
                header, place = row, row.index(self.text_column)
                continue
            if not reason and row and len(row) != len(header):
                reason, detail = "wrong number of fields", f"{len(row)} instead of {len(header)}"
            if reason:  # a quotation mark may have swallowed several lines, each of which counts
                yield from [self._bad(file, line, reason, detail)] * (table.line_num + 1 - line)
            elif row:
                yield row[place]

    def _json(self, file: Path, handle: IO[str]) -> Iterator[object]:
        lines = ((number, line) for number, line in enumerate(handle, start=1) if line.strip())
        number, line = next(lines, (1, "[]"))
        if line.lstrip().startswith("["):
            rows = iter(self._json_array(file, number, line + handle.read()))
        else:
            rows = (self._json_line(file, number, line) for number, line in chain([(number, line)], lines))
        first = True
        for row in rows:
            if isinstance(row, BadLine):
                yield row
                continue
            if first and (isinstance(row, dict) or self._key != "text_column"):
                self._check_column(file, list(row) if isinstance(row, dict) else [])
            first = False
            if isinstance(row, dict):
                yield row.get(self.text_column)
            else:
                yield row if self._key == "text_column" else None

    def _json_line(self, file: Path, number: int, line: str) -> object:
        if not _is_utf8(line):
            return self._bad(file, number, "not UTF-8")
        try:
            return json.loads(line)
        except (ValueError, RecursionError) as error:
            return self._bad(file, number, "not valid JSON", error)

    def _json_array(self, file: Path, number: int, text: str) -> list[object]:
        try:
            rows: list[object] = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{file}, line {number}: not valid JSON ({error})") from error
        if not _is_utf8(text):
            raise InputError(f"{file} cannot be read as json: not UTF-8")
        return rows

    def _parquet(self, file: Path) -> Iterator[object]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            table = pq.ParquetFile(file)
            self._check_column(file, table.schema_arrow.names)
            for batch in table.iter_batches(batch_size=4096, columns=[self.text_column]):
                yield from batch.column(0).to_pylist()
        except InputError:
            raise
        except (pa.ArrowException, ValueError, OverflowError) as error:  # a date may be none that Python knows
            raise InputError(f"{file} cannot be read as parquet: {' '.join(str(error).split())}") from error

    def _check_column(self, file: Path, columns: list[str]) -> None:
        if self.text_column not in columns:
            raise InputError(
                f"{self._key}={self.text_column!r} is not in {file}, whose columns are {_named(columns) or 'none'}"
                f"{nearest(self.text_column, columns[:_MOST_COLUMNS])}"
            )


class HubDataset(Corpus):
    """A dataset of the Hugging Face Hub, read with `streaming=True`."""

    def __init__(self, name: str, cfg: dict[str, Any], key: str = "text_column") -> None:
        self.name, self.text_column, self._key = name, str(cfg[key]), key
        self.config, self.split = cfg["dataset_config"], str(cfg["dataset_split"])
        self.revision = self._commit(cfg["dataset_revision"])

    @property
    def fingerprint(self) -> str:
        """Hash of name, configuration, split, commit and column."""
        parts = (self.name, self.config, self.split, self.revision, self.text_column)
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    def rows(self, start: int = 0) -> Iterator[object]:
        """Stream the text column."""
        from datasets import load_dataset
        from datasets.exceptions import DatasetsError

        try:
            stream = load_dataset(self.name, self.config, split=self.split, revision=self.revision, streaming=True)
            for number, row in enumerate(stream.skip(start)):
                if number == 0 and self.text_column not in row:
                    raise InputError(
                        f"{self._key}={self.text_column!r} is not in {self.name}, whose columns are "
                        f"{_named(list(row))}{nearest(self.text_column, row)}"
                    )
                yield row[self.text_column]
        except ConnectionError as error:
            raise InputError(self._offline()) from error
        except InputError:
            raise
        except (ValueError, OSError, DatasetsError) as error:
            raise InputError(f"dataset_path={self.name!r}: {' '.join(str(error).split())}") from error

    def _commit(self, revision: str | None) -> str:
        """Resolve the revision to a commit, from the Hub or, offline, from what the Hub cache remembers."""
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import (
            HFValidationError,
            LocalEntryNotFoundError,
            RepositoryNotFoundError,
            RevisionNotFoundError,
        )

        try:
            folder = snapshot_download(
                self.name,
                repo_type="dataset",
                revision=revision,
                allow_patterns=["README.md"],
                etag_timeout=5,
            )
        except (RepositoryNotFoundError, RevisionNotFoundError, HFValidationError) as error:
            raise InputError(
                f"dataset_path={self.name!r} is neither a local file nor a public Hub dataset"
                + (f" with revision {revision!r}" if revision else "")
            ) from error
        except LocalEntryNotFoundError as error:
            raise InputError(self._offline()) from error
        return Path(folder).name

    def _offline(self) -> str:
        return (
            f"dataset_path={self.name!r} is not a local file, and this machine is offline, so the Hub cannot be asked "
            f"for it; offline, give a local file ({', '.join(FILE_KINDS)}) or {PYTHON_DOCS!r}"
        )


def _local_files(path: str) -> list[Path]:
    """List the readable files behind a file name, a folder or a glob, sorted by name."""
    location = Path(os.path.expanduser(path))
    try:
        if location.is_file():
            if not _supported(location):
                raise InputError(f"dataset_path={path!r} is not one of {', '.join(FILE_KINDS)}, plain or with .gz")
            return [location]
        is_folder = location.is_dir()
        found = list(location.rglob("*") if is_folder else map(Path, glob.glob(str(location), recursive=True)))
        files = sorted(file for file in found if file.is_file() and _supported(file))
    except OSError as error:
        raise InputError(f"dataset_path={path!r} cannot be read: {error.strerror}") from error
    if not files and (found or is_folder):
        fault = "is a folder without" if is_folder else "matches no"
        raise InputError(f"dataset_path={path!r} {fault} {', '.join(FILE_KINDS)} files")
    return files


def _supported(file: Path) -> bool:
    return file.name.removesuffix(".gz").endswith(FILE_KINDS)


def _missing(path: str) -> str:
    folder = Path(os.path.expanduser(path)).parent
    siblings = [entry.name for entry in folder.iterdir()] if folder.is_dir() else [PYTHON_DOCS]
    return f"dataset_path={path!r} does not exist{nearest(Path(path).name, siblings)}"


def _open_text(file: Path) -> IO[str]:
    zipped = file.suffix == ".gz"
    with gzip.open(file) if zipped else file.open("rb") as raw:
        if raw.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            raise InputError(f"{file} is UTF-16; save it as UTF-8")
    if zipped:
        return gzip.open(file, "rt", encoding="utf-8-sig", errors="surrogateescape", newline="")
    return file.open(encoding="utf-8-sig", errors="surrogateescape", newline="")


def _is_utf8(text: str) -> bool:
    return text.isascii() or not _ESCAPED.search(text)


def _named(columns: list[str]) -> str:
    """List columns on one line, whatever their names hold."""
    names = [name if name.isprintable() else ascii(name) for name in columns[:_MOST_COLUMNS]]
    return ", ".join(names) + (f" and {len(columns) - len(names):,} more" if len(names) < len(columns) else "")

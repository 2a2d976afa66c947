"""Datasets of the Hugging Face Hub, streamed."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from functools import cached_property, partial
from itertools import chain
from pathlib import Path
from typing import Any

from sae_kedro.corpora.base import Source
from sae_kedro.corpora.columns import column_of
from sae_kedro.corpora.formats import FORMATS
from sae_kedro.corpora.hub_faults import patiently, told
from sae_kedro.corpora.hub_files import HubFile, unchanged, write_whole
from sae_kedro.corpora.hub_parquet import column_rows
from sae_kedro.corpora.text_files import COMPRESSED
from sae_kedro.errors import InputError, nearest

_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")
_LENGTHS = "rows-of-files.json"


class HubDataset(Source):
    """A dataset of the Hugging Face Hub, streamed at one commit.

    Of Parquet files the column alone is fetched; other formats are read by the library `datasets`. How many rows the
    files have that were read is kept in the Hub's cache, so that going on starts in the right one.
    """

    precedence = 2

    def __init__(self, name: str, cfg: dict[str, Any], key: str = "text_column") -> None:
        self.name, self.column = name, column_of(cfg, key)
        self.config, self.split = cfg["dataset_config"], str(cfg["dataset_split"])
        self.revision = self._commit(cfg["dataset_revision"])

    @classmethod
    def open(cls, cfg: dict[str, Any], key: str) -> HubDataset | None:
        """Open what may be the name of a dataset, and not that of a file."""
        path = str(cfg["dataset_path"])
        if path.startswith(".") or path.endswith((*FORMATS, *COMPRESSED)) or not _NAME.fullmatch(path):
            return None
        return cls(path, cfg, key)

    @property
    def fingerprint(self) -> str:
        """Hash of name, configuration, split, commit and column."""
        parts = (self.name, self.config, self.split, self.revision, self.column.name)
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    def rows(self, start: int = 0) -> Iterator[object]:
        """Stream the text column; reading starts in the file that holds row `start`."""
        with told(self.name):
            n_files, read = self._reading()
            known = self._lengths(n_files)
            first = 0
            while first < len(known) and known[first] <= start:
                start -= known[first]
                first += 1
            for number in range(first, n_files):
                passed, rows = read(number, start)
                for row in rows:
                    if passed >= start:
                        yield row
                    passed += 1
                start = max(0, start - passed)
                if number == len(known):
                    known.append(passed)
                    self._keep_lengths(n_files, known)

    def _reading(self) -> tuple[int, Callable[[int, int], tuple[int, Iterator[object]]]]:
        """Return how many files there are, and what reads one from a row on.

        What reads says how many rows it passed over, at most those asked for, and yields those that follow.
        """
        files, here = self._files(), f"hf://datasets/{self.name}@{self.revision}/"
        paths = [file.removeprefix(here) for file in files if file.startswith(here)]
        known = paths and len(paths) == len(files)
        if known and all(path.endswith(".parquet") for path in paths):
            return len(paths), lambda number, start: self._parquet(paths[number], number, start)
        stream = self._builder.as_streaming_dataset(self.split)
        parts = [partial(stream.shard, stream.num_shards, number) for number in range(stream.num_shards)]
        known = known and len(paths) == len(parts)
        return len(parts), lambda number, _: (0, self._streamed(parts[number], paths[number] if known else None))

    def _parquet(self, path: str, number: int, start: int) -> tuple[int, Iterator[object]]:
        keep = None if self._folder is None else (self._folder, number)
        file = HubFile(self.name, self.revision, path, keep)
        return column_rows(file, self.column, self._builder.info.features, start)

    def _streamed(self, part: Callable[[], Any], path: str | None) -> Iterator[object]:
        with unchanged(self.name, self.revision, path) if path else nullcontext():
            records = iter(part())
            if (first := next(records, None)) is not None:
                read = self.column.reader(self.name, first)
                yield from (row for record in chain([first], records) for row in read(record))

    def _files(self) -> list[str]:
        """List the files of the split, in order; none where the builder does not know them."""
        files: dict[str, list[str]] = self._builder.config.data_files
        if not files:
            return []
        names = list(files) if self.split == "all" else [name.strip() for name in self.split.split("+")]
        if missing := [name for name in names if name not in files]:
            raise InputError(
                f"dataset_split={self.split!r} is not in {self.name}, whose splits are {', '.join(map(str, files))}"
                f"{nearest(missing[0], map(str, files))}"
            )
        return [str(file) for name in names for file in files[name]]

    @cached_property
    def _builder(self) -> Any:
        from datasets import get_dataset_config_names, load_dataset_builder

        try:
            return patiently(lambda: load_dataset_builder(self.name, self.config, revision=self.revision))
        except ValueError as error:
            names = patiently(lambda: get_dataset_config_names(self.name, revision=self.revision))
            if self.config in names or len(names) < 2:
                raise
            raise InputError(
                f"dataset_config={self.config!r} is not in {self.name}, whose configurations are {', '.join(names)}"
                f"{nearest(self.config, names)}"
            ) from error

    @cached_property
    def _folder(self) -> Path | None:
        """Where the Hub's cache keeps what is known of this dataset, if it can be written to."""
        from huggingface_hub import cached_assets_path

        key = f"{self.fingerprint} {self.column.beside}"  # labels are as many as the texts that they lie beside
        try:
            return cached_assets_path(
                "sae_kedro", namespace=self.name, subfolder=hashlib.sha256(key.encode()).hexdigest()[:16]
            )
        except (OSError, ValueError):
            return None

    def _lengths(self, n_files: int) -> list[int]:
        """Return the number of rows of the first files, as far as an earlier run came."""
        if self._folder is not None:
            with suppress(OSError, ValueError, KeyError, TypeError):
                known = json.loads((self._folder / _LENGTHS).read_bytes())
                if known["files"] == n_files:
                    return [int(rows) for rows in known["rows"]]
        return []

    def _keep_lengths(self, n_files: int, known: list[int]) -> None:
        if self._folder is not None:
            with suppress(OSError):  # the next run counts again
                write_whole(self._folder / _LENGTHS, json.dumps({"files": n_files, "rows": known}).encode())

    def _commit(self, revision: str | None) -> str:
        """Resolve the revision to a commit, from the Hub or, offline, from what the Hub cache remembers."""
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RevisionNotFoundError

        download = partial(
            snapshot_download,
            self.name,
            repo_type="dataset",
            revision=revision,
            allow_patterns=["README.md"],
            etag_timeout=5,
        )
        with told(self.name):
            try:
                return Path(patiently(download)).name
            except RevisionNotFoundError as error:
                raise InputError(
                    f"dataset_revision={revision!r} is no branch, tag or commit of {self.name}; "
                    f"https://huggingface.co/datasets/{self.name}/tree/main lists them"
                ) from error
            except LocalEntryNotFoundError as error:
                if isinstance(error.__cause__, HfHubHTTPError):
                    raise
                raise InputError(self._offline()) from error

    def _offline(self) -> str:
        return (
            f"dataset_path={self.name!r} is not a local file, and this machine is offline, so the Hub cannot be asked "
            f"for it; offline, give a local file ({', '.join(FORMATS)}) or 'python-docs'"
        )


KIND = HubDataset

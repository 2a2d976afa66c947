"""Datasets of the Hugging Face Hub, streamed."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

from sae_kedro.corpora.base import Source
from sae_kedro.corpora.columns import column_of
from sae_kedro.corpora.formats import FORMATS
from sae_kedro.corpora.text_files import COMPRESSED
from sae_kedro.errors import InputError

_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")


class HubDataset(Source):
    """A dataset of the Hugging Face Hub, read with `streaming=True`."""

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
        """Stream the text column."""
        from datasets import load_dataset
        from datasets.exceptions import DatasetsError

        try:
            stream = load_dataset(self.name, self.config, split=self.split, revision=self.revision, streaming=True)
            yield from self._from(stream, start)
        except ConnectionError as error:
            raise InputError(self._offline()) from error
        except InputError:
            raise
        except (ValueError, OSError, DatasetsError) as error:
            raise InputError(f"dataset_path={self.name!r}: {' '.join(str(error).split())}") from error

    def _from(self, stream: Any, start: int) -> Iterator[object]:
        """Yield rows from row `start` on; records are passed over unread where each is one row."""
        skipped = 0 if {".", "+"} & set(self.column.name) else start
        records = iter(stream.skip(skipped))
        first = next(records, None)
        if first is None:
            return
        read = self.column.reader(self.name, first)
        if skipped and isinstance(first.get(self.column.name), list):
            skipped, records = 0, iter(stream)
        else:
            records = chain([first], records)
        yield from islice((row for record in records for row in read(record)), start - skipped, None)

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
            f"for it; offline, give a local file ({', '.join(FORMATS)}) or 'python-docs'"
        )


KIND = HubDataset

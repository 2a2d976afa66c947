"""The contract of a corpus, and what makes a row a text."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar, NamedTuple

from sae_kedro.errors import InputError


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

    @property
    def likely_rows(self) -> int | None:
        """About how many rows there are, for progress bars, if that is known before they are read."""
        return None

    @abstractmethod
    def rows(self, start: int = 0) -> Iterator[object]:
        """Yield the raw value of every row from row `start` on."""


class Source(Corpus):
    """A kind of corpus that `dataset_path` can name."""

    precedence: ClassVar[int] = 0
    """Kinds are asked in this order whether a path is theirs."""

    @classmethod
    @abstractmethod
    def open(cls, cfg: dict[str, Any], key: str) -> Source | None:
        """Open what `dataset_path` names, or return None if it names another kind of source.

        Args:
            cfg: A configuration.
            key: The key of the column to read: `text_column` or `label_column`.

        Raises:
            InputError: The path is of this kind and cannot be opened.
        """


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


def without_columns(cfg: dict[str, Any], key: str) -> InputError:
    """Say that a source has texts and nothing beside them."""
    return InputError(
        f"{key}={cfg[key]!r} needs a corpus with columns, and {cfg['dataset_path']!r} has none; set it to null"
    )

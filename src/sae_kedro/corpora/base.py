"""The contract of a corpus, and what makes a row a text."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar, NamedTuple

import numpy as np
from xxhash import xxh3_64_intdigest

from sae_kedro.errors import InputError


class BadLine(NamedTuple):
    """Takes the place of a line that cannot be read in the stream of rows, where `bad_lines` is `skip`."""

    reason: str


class Embedded(NamedTuple):
    """A row that comes with its embedding."""

    vector: np.ndarray[Any, np.dtype[Any]]
    """`(act_size,)`, of any floating type."""
    text: str | None
    """None where the corpus has no texts."""


Row = str | Embedded
"""A row that is used."""


class Corpus(ABC):
    """An ordered, re-readable stream of rows, of which those that are used are non-empty texts or have embeddings."""

    name: str
    has_texts: bool = True
    """Whether a row has a text, whose hash says which part it is in; otherwise that of its vector does."""

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
    """Say why a row is not used (`null`, `not text`, `empty` or what is wrong with its line), or None if it is."""
    if isinstance(row, Embedded):
        return None if row.text is None else rejected(row.text)
    if row is None:
        return "null"
    if isinstance(row, BadLine):
        return row.reason
    if not isinstance(row, str):
        return "not text"
    return None if row.strip() else "empty"


def cleaned(row: object) -> Row:
    """Return a row that is used, with a text that any file can hold."""
    if isinstance(row, Embedded):
        return row if row.text is None else row._replace(text=clean_text(row.text))
    return clean_text(str(row))


def text_of(row: Row) -> str | None:
    """Return the text of a row, if it has one."""
    return row.text if isinstance(row, Embedded) else row


def row_hash(row: Row) -> int:
    """Return a 64-bit hash of the text of a row, or of its vector where it has none; it decides the held-out split."""
    text = text_of(row)
    if text is not None:
        return text_hash(text)
    assert isinstance(row, Embedded)
    return vector_hash(row.vector)


def vector_hash(vector: np.ndarray[Any, np.dtype[Any]]) -> int:
    """Return a 64-bit hash of a vector's values as float32: the same in whichever precision they are stored."""
    return xxh3_64_intdigest(np.ascontiguousarray(vector, "<f4").data)


def clean_text(text: str) -> str:
    """Replace lone surrogates, which no UTF-8 file can hold."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def text_hash(text: str) -> int:
    """Return a 64-bit hash of a text, the same on every machine."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8"), digest_size=8).digest(), "little")


def without_columns(cfg: dict[str, Any], key: str) -> InputError:
    """Say that a source has texts and nothing beside them."""
    return InputError(
        f"{key}={cfg[key]!r} needs a corpus with columns, and {cfg['dataset_path']!r} has none; set it to null"
    )

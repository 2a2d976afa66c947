"""Embeddings that are there already: in a column beside the texts, in an `.npy` file, or in memory."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np
from xxhash import xxh3_128

from sae_kedro.corpora.base import BadLine, Corpus, Embedded, rejected
from sae_kedro.errors import InputError

Vectors = np.ndarray[Any, np.dtype[Any]]
BLOCK = 8192
"""Rows of an array looked at together."""
NO_VECTOR = BadLine("no embedding")


class ArrayCorpus(Corpus):
    """The rows of a two-dimensional array, read a few at a time, with or without a text for each.

    Args:
        name: What errors and progress call it.
        shape: `(n, act_size)`.
        texts: One for each row, or None.
    """

    def __init__(self, name: str, shape: tuple[int, int], texts: Sequence[object] | None = None) -> None:
        self.name, (self.n_rows, self.act_size), self.row_texts = name, shape, texts
        self.has_texts = texts is not None

    @abstractmethod
    def vectors(self, start: int, end: int) -> Vectors:
        """Return the rows from `start` to `end`, as they are stored: `(end - start, act_size)`."""

    def rows(self, start: int = 0) -> Iterator[object]:
        """Yield every row with its vector, or what is rejected of its text."""
        for first in range(start, self.n_rows, BLOCK):
            end = min(first + BLOCK, self.n_rows)
            texts = self.row_texts[first:end] if self.row_texts is not None else [None] * (end - first)
            for vector, text in zip(self.vectors(first, end), texts, strict=True):
                yield _row(vector, text) if self.row_texts is not None else Embedded(vector, None)


class InMemory(ArrayCorpus):
    """An array in memory.

    Args:
        x: `(n, act_size)`, of a floating type.
        texts: One for each row, or None.

    Raises:
        InputError: It is not such an array, or there are more or fewer texts.
    """

    def __init__(self, x: Vectors, texts: Sequence[object] | None = None) -> None:
        shape = checked_shape("the embeddings", x.shape, x.dtype)
        if texts is not None and len(texts) != len(x):
            raise InputError(f"there are {len(texts):,} texts for {len(x):,} embeddings; give one text for each")
        super().__init__("embeddings in memory", shape, None if texts is None else list(texts))
        self._x = x

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the vectors, as float32, and of the texts."""
        digest = xxh3_128()
        for start in range(0, self.n_rows, BLOCK):
            digest.update(np.ascontiguousarray(self._x[start : start + BLOCK], "<f4").data)
        for text in self.row_texts or ():
            digest.update(f"{text!r}\n".encode("utf-8", "replace"))
        return digest.hexdigest()

    def vectors(self, start: int, end: int) -> Vectors:
        """Return the rows from `start` to `end`."""
        return self._x[start:end]


class EmbeddedCorpus(Corpus):
    """Texts, or none, and beside each its embedding.

    Args:
        texts: The stream of texts; None: there are none.
        vectors: The stream of embeddings, row for row.
        bad_lines: What an embedding of another size than the first does: `fail`, or `skip`, which counts it.

    Raises:
        InputError: The first embedding is none.
    """

    def __init__(self, texts: Corpus | None, vectors: Corpus, bad_lines: str) -> None:
        self.name, self._texts, self._vectors, self._bad_lines = vectors.name, texts, vectors, bad_lines
        self.has_texts = texts is not None
        if texts is not None:
            self.name = texts.name
        rows = (row.vector if isinstance(row, Embedded) else row for row in vectors.rows())
        found = (as_vector(row, vectors.name) for row in rows if row is not None and not isinstance(row, BadLine))
        first = next((vector for vector in found if len(vector)), None)
        if first is None:
            raise InputError(f"{vectors.name} holds no embedding")
        self.act_size = len(first)

    @property
    def fingerprint(self) -> str:
        """Hash of both streams."""
        parts = [self._texts.fingerprint if self._texts is not None else None, self._vectors.fingerprint]
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    def rows(self, start: int = 0) -> Iterator[object]:
        """Yield every row with its vector, or what is rejected of its text or its vector.

        Raises:
            InputError: There are more texts than embeddings or fewer, or an embedding is of another size.
        """
        vectors = self._vectors.rows(start)
        if self._texts is None:
            for number, vector in enumerate(vectors, start + 1):
                found = self._checked(vector, number)
                yield found if isinstance(found, BadLine) else Embedded(found, None)
            return
        end = object()
        for number, text in enumerate(chain(self._texts.rows(start), [end]), start + 1):
            vector = next(vectors, end)
            if (text is end) != (vector is end):
                fewer = "texts" if text is end else "embeddings"
                raise InputError(
                    f"there are only {number - 1:,} {fewer} in {self.name} with {self._vectors.name}; every text needs "
                    "an embedding of its own, in the same order"
                )
            if text is end:
                return
            found = self._checked(vector, number)
            yield found if isinstance(found, BadLine) else _row(found, text)

    def _checked(self, value: object, number: int) -> Vectors | BadLine:
        if isinstance(value, Embedded):
            value = value.vector
        if value is None or isinstance(value, BadLine):
            return value or NO_VECTOR
        vector = as_vector(value, self._vectors.name)
        if len(vector) in (0, self.act_size):
            return vector if len(vector) else NO_VECTOR
        if self._bad_lines == "skip":
            return BadLine("of another size")
        raise InputError(
            f"{self._vectors.name}: the embedding of row {number:,} has {len(vector)} numbers, and the first one has "
            f"{self.act_size}; set bad_lines=skip to leave such rows out, counted"
        )


def _row(vector: Vectors, text: object) -> object:
    """Put text and vector together, if the text is one."""
    return Embedded(vector, text) if isinstance(text, str) and rejected(text) is None else text


def as_vector(value: object, place: str) -> Vectors:
    """Take one row for a vector, which may be empty.

    Raises:
        InputError: It is none.
    """
    try:
        vector = value if isinstance(value, np.ndarray) else np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        vector = np.empty(0, dtype=object)
    if vector.ndim != 1 or vector.dtype.kind != "f":
        kind = vector.dtype if vector.dtype.kind in "iub" else type(value).__name__
        raise InputError(
            f"{place}: an embedding must be a list of numbers of type float16, float32 or float64, and the first one "
            f"that is not is {kind}"
        )
    return vector


def checked_shape(place: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> tuple[int, int]:
    """Make sure that an array holds embeddings, one a row.

    Raises:
        InputError: It has not two dimensions, no row, or no floating numbers.
    """
    if len(shape) != 2 or 0 in shape:
        raise InputError(f"{place} must be a table of one embedding a row, (n, act_size); its shape is {shape}")
    if dtype.kind != "f" or dtype.itemsize > 8:
        raise InputError(f"{place} must hold float16, float32 or float64; it holds {dtype}, so convert it first")
    return shape[0], shape[1]

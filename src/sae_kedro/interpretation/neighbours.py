"""Rows of a corpus by their place, and those nearest to vectors: block by block, so that memory stays bounded."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from sys import getsizeof
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize

from sae_kedro.activations.store import ActivationsStoreSBERT
from sae_kedro.errors import InputError
from sae_kedro.interpretation.scores import largest

Cosines = NDArray[np.float32]


class Row(NamedTuple):
    """A text of a corpus, or an embedding where there are no texts."""

    number: int
    """Its place in the embedding cache, from 0."""
    text: str | None
    vector: Tensor
    """`(act_size,)`."""
    cosine: float
    """With what it was looked for; 1 for a row that was asked for by its number."""


class Rows:
    """The rows of a corpus, read from its embedding cache a shard at a time.

    Args:
        store: Of the corpus; what is not in its embedding cache yet is encoded.
        keep: Bytes of rows that stay in memory once they are read, for whoever goes through the corpus often.
    """

    def __init__(self, store: ActivationsStoreSBERT, keep: int = 0) -> None:
        self._cache, self._left = store.cache, keep
        self._starts = [0]
        self._vectors, self._texts = dict[int, Tensor](), dict[int, list[str | None]]()

    def __getitem__(self, number: int) -> Row:
        """Return one row.

        Raises:
            InputError: There is no such row.
        """
        if number >= self._starts[-1]:
            for _ in self._blocks():
                pass
        if not 0 <= number < self._starts[-1]:
            raise InputError(
                f"there is no row {number:,} in {self._cache.corpus.name}, which has {self._starts[-1]:,}, counted "
                "from 0"
            )
        return self._several([number])[0]

    def cosines(self, like: Tensor) -> Cosines:
        """Return the cosines of all rows with the rows of `like` `(m, act_size)`: `(n_rows, m)`."""
        columns = normalize(like.float(), dim=1).T
        return np.concatenate([(block @ columns / block.norm(dim=1, keepdim=True)).numpy() for block in self._blocks()])

    def nearest(self, cosines: Cosines, n: int, but: str | int | None = None) -> list[Row]:
        """Return the rows of the largest cosines, the largest first, equal ones in their order.

        Args:
            cosines: `(n_rows,)`.
            n: How many rows, at most.
            but: A text, or the number of a row, that is not to be found: the one that is looked for.
        """
        left_out = np.zeros(len(cosines), dtype=bool)
        if isinstance(but, str):
            left_out[:] = [text == but for index in range(len(self._starts) - 1) for text in self._texts_of(index)]
        elif but is not None:
            left_out[but] = True
        able = np.flatnonzero(~left_out)
        best = able[largest(cosines[able], n)]
        return [row._replace(cosine=float(cosines[row.number])) for row in self._several(best.tolist())]

    def _several(self, numbers: list[int]) -> list[Row]:
        """Return rows in the order asked for; what is not in memory is read once."""
        found = dict[int, Row]()
        owners = {number: bisect_right(self._starts, number) - 1 for number in numbers}
        for index in set(owners.values()):
            vectors, texts, start = self._vectors_of(index), self._texts_of(index), self._starts[index]
            for number in (number for number, owner in owners.items() if owner == index):
                found[number] = Row(number, texts[number - start], vectors[number - start].clone(), 1.0)
        return [found[number] for number in numbers]

    def _blocks(self) -> Iterator[Tensor]:
        for index in self._cache.iter_shards():
            vectors = self._vectors_of(index)
            if len(self._starts) == index + 1:
                self._starts.append(self._starts[-1] + len(vectors))
            yield vectors

    def _vectors_of(self, index: int) -> Tensor:
        if (kept := self._vectors.get(index)) is not None:
            return kept
        vectors = self._cache.read(index).vectors
        if self._fits(vectors.nbytes):
            self._vectors[index] = vectors
        return vectors

    def _texts_of(self, index: int) -> list[str | None]:
        if (kept := self._texts.get(index)) is not None:
            return kept
        texts = self._cache.texts(index)
        if self._fits(sum(map(getsizeof, texts))):
            self._texts[index] = texts
        return texts

    def _fits(self, size: int) -> bool:
        if fits := size <= self._left:
            self._left -= size
        return fits


def neighbours(rows: Rows, like: Tensor, n: int, but: str | int | None = None) -> list[Row]:
    """Find the rows of a corpus whose embeddings have the largest cosine with `like` `(act_size,)`, nearest first.

    Args:
        rows: Of the corpus.
        like: What to look for.
        n: How many.
        but: A text, or the number of a row, that is not to be found: the one that is looked for.
    """
    return rows.nearest(rows.cosines(like[None])[:, 0], n, but)

"""Other columns of a corpus beside its embeddings: the cache has none, so the corpus is read again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sae_kedro.activations.cache import EmbeddingCache
from sae_kedro.activations.ready import EmbeddingArray
from sae_kedro.corpora.base import Corpus, cleaned, rejected, row_hash
from sae_kedro.errors import InputError


def columns_beside(
    embeddings: EmbeddingCache | EmbeddingArray, columns: Sequence[Corpus]
) -> Iterator[list[tuple[object, ...]]]:
    """Yield the values of columns for every shard of a cache, a tuple for each of its rows.

    The cache lacks the rows of the corpus that are no text or have no finite embedding. So the corpus is read along,
    and a row counts only when it has the hash that comes next in the cache.

    Args:
        embeddings: The embeddings of a corpus.
        columns: Streams with one value for each row of that corpus, as `open_column` opens them.

    Raises:
        InputError: The corpus no longer holds the texts that were encoded.
    """
    corpus = embeddings.corpus
    records = zip(corpus.rows(), *(column.rows() for column in columns), strict=True)
    rows = ((row_hash(cleaned(row)), values) for row, *values in records if rejected(row) is None)
    for index in embeddings.iter_shards():
        found: list[tuple[object, ...]] = []
        for wanted in embeddings.read(index).hashes.tolist():
            values = next((values for hashed, values in rows if hashed == wanted), None)
            if values is None:
                raise InputError(
                    f"{corpus.name} no longer holds the texts that were encoded; was it changed during the run?"
                )
            found.append(tuple(values))
        yield found

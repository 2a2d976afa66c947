"""The rows of a corpus, cut where shards begin and end, and worked on one ahead of the model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

from sae_kedro.corpora.base import Corpus, Row, cleaned, rejected

SHARD_SIZE = 8192
_Item = TypeVar("_Item")


class Chunk(NamedTuple):
    """What makes up a shard, and the rows of the corpus it came from."""

    rows: list[Row]
    first_row: int
    next_row: int
    last: bool
    skipped: dict[str, int]


def cut(corpus: Corpus, start: int, left: int | None = None, end_row: int | None = None) -> Iterator[Chunk]:
    """Cut the rows of a corpus from row `start` on into chunks: at `SHARD_SIZE` used ones, and where `left` runs out.

    Given `end_row`, one chunk holds everything up to that row.
    """
    rows: list[Row] = []
    skipped: Counter[str] = Counter()
    first = row = start
    full = SHARD_SIZE if end_row is None else float("inf")
    for value in corpus.rows(start):
        if row == end_row or len(rows) >= min(full, float("inf") if left is None else left):
            yield Chunk(rows, first, row, False, dict(skipped))
            left = None if left is None else left - len(rows)
            if left == 0 or end_row is not None:
                return
            rows, skipped, first = [], Counter(), row
        row += 1
        reason = rejected(value)
        if reason is None:
            rows.append(cleaned(value))
        else:
            skipped[reason] += 1
    if row > first:
        yield Chunk(rows, first, row, True, dict(skipped))


def one_ahead(items: Iterator[_Item]) -> Iterator[_Item]:
    """Yield what `items` yields, which computes the next item in a thread of its own meanwhile."""
    with ThreadPoolExecutor(max_workers=1) as thread:
        coming = thread.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = thread.submit(next, items, None)
            yield item

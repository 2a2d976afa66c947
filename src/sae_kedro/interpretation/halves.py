"""Two halves of a corpus: one makes labels, the other scores them."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import xxhash
from numpy.typing import NDArray

MOST_TEXTS = 100_000
"""Texts of each half that labels are made from, and scored on, at most."""


class Halves(NamedTuple):
    """Rows of a corpus, `(n,)` each, in random order; the same text is in one of them only."""

    made_from: NDArray[np.int64]
    scored_on: NDArray[np.int64]


def halves(texts: Sequence[str]) -> Halves:
    """Divide texts by a hash of what they say: case, width of letters and blanks do not count."""
    same = (" ".join(unicodedata.normalize("NFKC", text).casefold().split()) for text in texts)
    hashes = np.fromiter(
        (xxhash.xxh64_intdigest(text.encode(errors="replace")) for text in same), np.uint64, len(texts)
    )
    order = np.argsort(hashes, kind="stable")
    odd = (hashes[order] & np.uint64(1)).astype(bool)
    return Halves(order[~odd][:MOST_TEXTS], order[odd][:MOST_TEXTS])

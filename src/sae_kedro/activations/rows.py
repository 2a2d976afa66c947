"""The rows of a block of embeddings, and which of them are left out."""

from __future__ import annotations

import logging
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

logger = logging.getLogger(__name__)


class Rows(NamedTuple):
    """The rows of a shard."""

    hashes: np.ndarray[Any, np.dtype[np.uint64]]
    """`(n,)`: the hash that decides the held-out split."""
    vectors: Tensor
    """`(n, act_size)`, float32."""


def unusable(vectors: np.ndarray[Any, np.dtype[np.float32]]) -> dict[str, np.ndarray[Any, np.dtype[np.bool_]]]:
    """Mark the rows `(n,)` of `vectors` `(n, act_size)` that say nothing, by reason."""
    finite = np.isfinite(vectors).all(axis=1)
    return {"not finite": ~finite, "all zeros": ~vectors.any(axis=1)}


def tell_rest(name: str, limit: int | None) -> None:
    """Warn that a corpus goes on beyond `num_examples`."""
    logger.warning(
        "%s holds more than num_examples=%s texts, and the rest is left out; num_examples=null takes all",
        name,
        f"{limit:,}",
    )


def tell_skipped(name: str, skipped: dict[str, int]) -> None:
    """Warn of rows that were left out, by reason."""
    if any(skipped.values()):
        reasons = ", ".join(f"{number:,} {reason}" for reason, number in skipped.items() if number)
        logger.warning("Skipped rows of %s: %s", name, reasons)

"""What the tests of Hub datasets do in a process of its own, whose Hub is their server."""

from __future__ import annotations

import os
import time
from itertools import islice
from pathlib import Path

from sae_kedro import InputError, get_experiment_cfg
from sae_kedro.corpora.opening import open_corpus, open_labels

WAITED: list[float] = []


def wait_for_nothing() -> None:
    """Note how long this process would sleep, and do not."""
    time.sleep = WAITED.append


def waited() -> list[float]:
    """Return the waits since the last time."""
    waits = list(WAITED)
    WAITED.clear()
    return waits


def rows(start: int, count: int | None, token: str = "", **options) -> list[object]:
    """Read rows of a new corpus."""
    os.environ["HF_TOKEN"] = token
    return list(islice(open_corpus(get_experiment_cfg(**options)).rows(start), count))


def labels(**options) -> list[object]:
    """Read all labels."""
    return list(open_labels(get_experiment_cfg(**options)).rows())


def encode(folder: Path, limit: int | None, **options) -> tuple[list[str], str]:
    """Fill a cache of 16 numbers a text; return what was encoded, and what was said if it ended early."""
    from sae_kedro.activations.cache import EmbeddingCache
    from stub_models import CountingEncoder, HashModel

    cfg = get_experiment_cfg(act_size=16, dtype="float32", device="cpu", **options)
    encoder = CountingEncoder(cfg, HashModel())
    try:
        EmbeddingCache(folder, open_corpus(cfg), encoder, limit).fill()
    except InputError as error:
        return encoder.encoded, str(error)
    return encoder.encoded, ""

"""Encoding in a process of its own, which ends by SIGKILL at whatever line it is told to."""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from pathlib import Path

import filelock
import pandas  # noqa: F401 - pyarrow imports it, and before the fork it costs less

from sae_kedro import InputError, get_experiment_cfg
from sae_kedro.activations import chunks as chunks_module
from sae_kedro.activations.cache import EmbeddingCache
from sae_kedro.corpora import base
from sae_kedro.corpora.opening import open_corpus
from stub_models import CountingEncoder, HashModel

CFG = get_experiment_cfg(act_size=16, dtype="float32", device="cpu")  # before the fork: it imports torch
WATCHED = tuple(str(Path(module.__file__).parent) for module in (chunks_module, base, filelock))


def open_cache(folder, corpus_file):
    cfg = CFG | {"dataset_path": str(corpus_file)}
    return EmbeddingCache(folder, open_corpus(cfg), CountingEncoder(cfg, HashModel()), None)


def encode(folder, corpus_file, report, dies_at=None, largest_file=None, start=None):
    """Fill a cache, and report which texts were encoded, what was said and how many lines were executed.

    Args:
        folder: Of the cache.
        corpus_file: The corpus.
        report: The file to write at the end.
        dies_at: The number of the line of the cache's or the lock's code before which the process kills itself.
        largest_file: Bytes that a file may have; beyond them writing fails, as on a full disk.
        start: A barrier to pass first.
    """
    if largest_file is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
    if start is not None:
        start.wait()
    chunks_module.SHARD_SIZE = 8
    n_lines, said = 0, None

    def count(frame, event, _):
        nonlocal n_lines
        if not frame.f_code.co_filename.startswith(WATCHED):
            return None
        if event == "line":
            n_lines += 1
            if n_lines == dies_at:
                os.kill(os.getpid(), signal.SIGKILL)
        return count

    encoded = []
    sys.settrace(count)
    try:
        cache = open_cache(folder, corpus_file)
        encoded = cache.encoder.encoded
        cache.fill()
    except InputError as error:
        said = str(error)
    sys.settrace(None)
    report.write_text(json.dumps({"encoded": encoded, "n_lines": n_lines, "said": said}))

"""From a configuration to a corpus: the kind of source that knows the path opens it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from sae_kedro.corpora import kinds
from sae_kedro.corpora.base import Corpus, Source
from sae_kedro.discovery import submodules
from sae_kedro.errors import InputError, nearest


def open_corpus(cfg: dict[str, Any]) -> Corpus:
    """Open the corpus that `dataset_path` names and make sure that local files hold at least one text.

    Args:
        cfg: Reads `dataset_path`, `dataset_config`, `dataset_split`, `dataset_revision`, `text_column` and `bad_lines`.

    Raises:
        InputError: The path does not exist, the Hub cannot be reached, the column is missing, all rows are empty, or
            a line before the first text cannot be read.
    """
    return _opened(cfg, "text_column")


def open_labels(cfg: dict[str, Any]) -> Corpus:
    """Open the column that `label_column` names as a stream beside that of the texts, row for row.

    Args:
        cfg: As for `open_corpus`, and `label_column`.

    Raises:
        InputError: The corpus has no columns, or not this one.
    """
    labels = _opened(cfg, "label_column")
    next(iter(labels.rows()), None)  # looks at the columns
    return labels


def _opened(cfg: dict[str, Any], key: str) -> Corpus:
    known: list[type[Source]] = sorted(
        (module.KIND for module in submodules(kinds.__name__).values()), key=lambda kind: kind.precedence
    )
    for kind in known:
        if (corpus := kind.open(cfg, key)) is not None:
            return corpus
    path = Path(os.path.expanduser(cfg["dataset_path"]))
    siblings = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else ["python-docs"]
    raise InputError(f"dataset_path={cfg['dataset_path']!r} does not exist{nearest(path.name, siblings)}")

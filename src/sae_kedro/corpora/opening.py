"""From a configuration to a corpus: the kind of source that knows the path opens it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from sae_kedro.corpora import kinds
from sae_kedro.corpora.base import Corpus, Source
from sae_kedro.corpora.columns import MissingColumnError
from sae_kedro.corpora.embedded import ArrayCorpus, EmbeddedCorpus
from sae_kedro.corpora.kinds.npy import ENDING, NpyFile
from sae_kedro.discovery import submodules
from sae_kedro.errors import InputError, nearest
from sae_kedro.keys import TABLES


def open_corpus(cfg: dict[str, Any]) -> Corpus:
    """Open the corpus that `dataset_path` names and make sure that local files hold at least one text.

    Args:
        cfg: Reads `dataset_path`, `dataset_config`, `dataset_split`, `dataset_revision`, `text_column`,
            `embedding_column` and `bad_lines`.

    Raises:
        InputError: The path does not exist, the Hub cannot be reached, the column is missing, all rows are empty, or
            a line before the first text cannot be read.
    """
    return _opened(cfg, "text_column") if cfg["embedding_column"] is None else _embedded(cfg)


def brings_embeddings(cfg: dict[str, Any]) -> bool:
    """Say whether a corpus comes with embeddings, so that no model is needed."""
    return cfg["embedding_column"] is not None or str(cfg["dataset_path"]).endswith(ENDING)


def brought_size(cfg: dict[str, Any]) -> int:
    """Return the size of the embeddings that a corpus comes with.

    Raises:
        InputError: As `open_corpus` does.
    """
    corpus = open_corpus(cfg)
    assert isinstance(corpus, (ArrayCorpus, EmbeddedCorpus))
    return corpus.act_size


def open_labels(cfg: dict[str, Any]) -> Corpus:
    """Open the column that `label_column` names, as `open_column` does."""
    return open_column(cfg, "label_column", cfg["label_column"])


def open_column(cfg: dict[str, Any], key: str, name: str) -> Corpus:
    """Open a column as a stream beside that of the texts, row for row.

    Args:
        cfg: As for `open_corpus`.
        key: The key that names it, for errors.
        name: The column.

    Raises:
        InputError: The corpus has no columns, or not this one.
    """
    column = _opened(cfg | {key: name}, key)
    next(iter(column.rows()), None)  # looks at the columns
    return column


def _embedded(cfg: dict[str, Any]) -> Corpus:
    """Open texts and embeddings beside each other; of the default column of texts there need be none."""
    vectors = NpyFile.open(cfg, "embedding_column") or _opened(cfg, "embedding_column")
    texts: Corpus | None = None
    try:
        opened = _opened(cfg, "text_column")
        next(iter(opened.rows()), None)  # looks at the columns
        texts = opened
    except MissingColumnError:
        if cfg["text_column"] != TABLES["encode"].model_fields["text_column"].default:
            raise
    if isinstance(texts, ArrayCorpus):
        raise InputError(
            f"embedding_column={cfg['embedding_column']!r} has no use: {cfg['dataset_path']} holds embeddings already"
        )
    return EmbeddedCorpus(texts, vectors, cfg["bad_lines"])


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

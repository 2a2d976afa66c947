"""Public sets of texts that show what a change of embeddings does: scored sentence pairs, and retrieval."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from sae_kedro.corpora.base import rejected
from sae_kedro.corpora.columns import Column
from sae_kedro.corpora.kinds.files import LocalFiles
from sae_kedro.corpora.text_files import ending
from sae_kedro.errors import InputError, nearest
from sae_kedro.models import check_model_files

PAIR_KINDS = (".jsonl", ".csv")
PAIR_COLUMNS = ("sentence1", "sentence2", "score")
_QRELS = ("qrels.tsv", "qrels/test.tsv")


class SentencePairs(NamedTuple):
    """Pairs of sentences and how similar people find them, as in STS-B."""

    first: list[str]
    second: list[str]
    scores: list[float]


class RetrievalSet(NamedTuple):
    """Queries, documents and which document answers which query, as in BEIR (arXiv 2104.08663)."""

    queries: dict[str, str]
    """Text by id; only queries with at least one relevant document."""
    documents: dict[str, str]
    """Title and text by id."""
    relevance: dict[str, dict[str, int]]
    """By query, the positive judgements by document."""


def check_model_named(cfg: dict[str, Any], key: str) -> None:
    """Make sure that texts which bring no embedding can be encoded.

    Raises:
        InputError: It is not known with what, or that has no weights.
    """
    if cfg["model_name"] is None:
        raise InputError(f"{key}={cfg[key]!r} needs the model that made the embeddings; set model_name to it")
    check_model_files(cfg["model_name"])


def read_pairs(path: str) -> SentencePairs:
    """Read JSON lines or CSV, plain or gzipped, with `sentence1`, `sentence2` and a numeric `score`.

    Raises:
        InputError: The file is missing, of another kind, without one of the columns, or a row is no scored pair.
    """
    file = Path(path).expanduser()
    _must_exist("sts_path", path, file)
    if not file.is_file() or ending(file) not in PAIR_KINDS:
        raise InputError(f"sts_path={path!r} is not a {' or '.join(PAIR_KINDS)} file, plain or compressed")
    columns = (
        LocalFiles(path, [file], Column(column, "sts_path needs sentence1, sentence2 and score; column", None)).rows()
        for column in PAIR_COLUMNS
    )
    rows = list(zip(*columns, strict=True))
    if not rows:
        raise InputError(f"sts_path={path!r} holds no pair")
    scores = [_number(row[2]) for row in rows]
    for number, (row, score) in enumerate(zip(rows, scores, strict=True), start=1):
        if rejected(row[0]) or rejected(row[1]) or not math.isfinite(score):
            raise InputError(f"sts_path={path!r}: pair {number} must be two texts and a number; it is {row!r}")
    return SentencePairs([str(row[0]) for row in rows], [str(row[1]) for row in rows], scores)


def read_retrieval(path: str) -> RetrievalSet:
    """Read a folder with `queries.jsonl`, `corpus.jsonl` and `qrels.tsv` (or `qrels/test.tsv`), as BEIR has them.

    A document is its title and its text. Those without any text are left out: they are never found.

    Raises:
        InputError: A file or a field is missing, or no query has a relevant document.
    """
    folder = Path(path).expanduser()
    _must_exist("retrieval_path", path, folder)
    names = {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()
    qrels = next((name for name in _QRELS if (folder / name).is_file()), _QRELS[0])
    for name in ("queries.jsonl", "corpus.jsonl", qrels):
        if not (folder / name).is_file():
            raise InputError(
                f"retrieval_path={path!r} must be a folder with queries.jsonl, corpus.jsonl and qrels.tsv; "
                f"it has no {name}{nearest(name, names)}"
            )
    relevance = _relevance(folder / qrels)
    queries = {key: text for key, text in _texts(folder / "queries.jsonl") if key in relevance and text}
    documents = {key: text for key, text in _texts(folder / "corpus.jsonl") if text}
    if not queries or not documents:
        raise InputError(f"retrieval_path={path!r}: no query has a relevant document; check the ids in {qrels}")
    return RetrievalSet(queries, documents, {key: relevance[key] for key in queries})


def _texts(file: Path) -> Iterator[tuple[str, str]]:
    with file.open(encoding="utf-8-sig", errors="replace") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
                yield str(row["_id"]), f"{row.get('title') or ''} {row['text'] or ''}".strip()
            except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
                raise InputError(
                    f"retrieval_path: {file}, line {number} is not a JSON object with _id and text"
                ) from error


def _relevance(file: Path) -> dict[str, dict[str, int]]:
    relevance: dict[str, dict[str, int]] = {}
    with file.open(encoding="utf-8-sig", errors="replace", newline="") as handle:
        for number, row in enumerate(csv.reader(handle, delimiter="\t", quoting=csv.QUOTE_NONE), start=1):
            if not row:
                continue
            score = _number(row[-1]) if len(row) == 3 else math.nan
            if math.isnan(score) and number == 1:  # the names of the columns
                continue
            if not score.is_integer():
                raise InputError(
                    f"retrieval_path: {file}, line {number} must hold a query id, a document id and a whole score, "
                    f"with tabs between them; it is {row!r}"
                )
            if score > 0:
                relevance.setdefault(row[0], {})[row[1]] = int(score)
    return relevance


def _must_exist(key: str, given: str, place: Path) -> None:
    if not place.exists():
        siblings = [entry.name for entry in place.parent.iterdir()] if place.parent.is_dir() else []
        raise InputError(f"{key}={given!r} does not exist{nearest(place.name, siblings)}")


def _number(value: object) -> float:
    try:
        return float(str(value))
    except ValueError:
        return math.nan

"""What must hold before groups of texts are set against each other."""

from __future__ import annotations

from itertools import count, islice
from pathlib import Path
from typing import Any

from sae_kedro.corpora.base import rejected
from sae_kedro.corpora.opening import open_column, open_corpus
from sae_kedro.errors import InputError
from sae_kedro.pipelines.contrast.nodes import columns_of, corpora_of, names_of
from sae_kedro.pipelines.planned_run import PlannedRun
from sae_kedro.pipelines.saved_sae import check_saved
from sae_kedro.pipelines.train.nodes import model_folder

QUESTIONS = ("label_column", "target_column", "contrast_path")
QUICKLY_READ = 200_000
"""Rows of a file that are read for a check: about two seconds."""


def contrast_groups(run: PlannedRun) -> None:
    """An SAE is there; one key says what the groups are; corpora and columns can be opened and have groups."""
    check_question(run, "contrast")


def check_question(run: PlannedRun, pipeline: str) -> None:
    """Make sure that there is an SAE and something to compare texts by.

    Args:
        run: A run before its first node.
        pipeline: What asks, for errors.

    Raises:
        InputError: There is not.
    """
    check_saved(run)
    cfg = run.cfg
    asked = [f"{key}={cfg[key]}" for key in QUESTIONS if cfg[key] is not None]
    if len(asked) != 1:
        given = f"{' and '.join(asked)} are given" if asked else "none is given"
        raise InputError(f"{pipeline} needs one of {', '.join(QUESTIONS)}, and {given}")
    if cfg["contrast_path"] == cfg["dataset_path"]:
        raise InputError(f"{asked[0]} is the corpus of dataset_path, too; name another one")
    for other in corpora_of(cfg)[1:]:
        try:
            open_corpus(other)
        except InputError as error:
            raise InputError(str(error).replace("dataset_path=", "contrast_path=", 1)) from error
    for each in corpora_of(cfg):
        for name, key in columns_of(cfg).items():
            open_column(each, key, name)
    _check_groups(cfg, asked[0])
    run.writes.add(model_folder(cfg))


def _check_groups(cfg: dict[str, Any], asked: str) -> None:
    """Read the columns before any model loads, of files that are quickly read, and refuse what cannot be compared."""
    from sae_kedro.interpretation.targets import check_target
    from sae_kedro.interpretation.units import normalised

    target = cfg["target_column"] or cfg["label_column"]
    kept: list[tuple[object, ...]] = []
    for name, each in zip(names_of(cfg), corpora_of(cfg), strict=True):
        if not Path(each["dataset_path"]).expanduser().exists():
            return  # the Hub's are read once, when they are used
        texts = open_column(each, "text_column", each["text_column"]).rows() if open_corpus(each).has_texts else count()
        beside = [open_column(each, key, column).rows() for column, key in columns_of(each).items()]
        rows = [row for row in islice(zip(texts, *beside, strict=False), QUICKLY_READ + 1) if _is_used(row[0])]
        if len(rows) > QUICKLY_READ:
            return
        for text, *values in rows[: cfg["num_examples"]]:
            found = dict(zip(columns_of(each), values, strict=True))
            group = found.pop(target) if target else name
            unit = found.pop(cfg["unit_column"], None)
            kept.append((group, unit or normalised(str(text)), *map(str, found.values())))
    try:
        check_target(
            [row[0] for row in kept],
            [row[1:] for row in kept],
            positive=names_of(cfg)[-1] if target is None else None,
            number=cfg["target_column"] is not None,
        )
    except InputError as error:
        raise InputError(f"{asked}: {error}") from error


def _is_used(row: object) -> bool:
    return isinstance(row, int) or rejected(row) is None

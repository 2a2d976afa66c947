"""Groups of texts, which `contrast` and `predict` ask about: what must hold of them, their codes and their columns."""

from __future__ import annotations

import logging
from itertools import count, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sae_kedro.config import run_folder
from sae_kedro.corpora.base import rejected
from sae_kedro.corpora.opening import open_column, open_corpus
from sae_kedro.errors import InputError
from sae_kedro.pipelines.planned_run import PlannedRun
from sae_kedro.pipelines.saved_sae import check_saved
from sae_kedro.pipelines.train.nodes import model_folder

if TYPE_CHECKING:
    from scipy import sparse

    from sae_kedro.activations.store import ActivationsStoreSBERT
    from sae_kedro.interpretation.codes import CodeBlock
    from sae_kedro.sae.base import SAE

logger = logging.getLogger(__name__)

QUESTIONS = ("label_column", "target_column", "contrast_path")
QUICKLY_READ = 200_000
"""Rows of a file that are read for a check: about two seconds."""


class Compared(NamedTuple):
    """What `contrast` and `predict` of the library are asked."""

    codes: sparse.csr_array
    groups: list[object]
    options: dict[str, Any]
    """Their other arguments."""


def corpora_of(cfg: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the configuration of each corpus that is read."""
    other = cfg["contrast_path"]
    return [cfg] if other is None else [cfg, cfg | {"dataset_path": other}]


def columns_of(cfg: dict[str, Any]) -> dict[str, str]:
    """Return the columns that are read, each with the key that names it."""
    keys = ("label_column", "target_column", "unit_column")
    named = {cfg[key]: key for key in keys if cfg[key] is not None}
    return named | dict.fromkeys(cfg["control_columns"] or [], "control_columns")


def names_of(cfg: dict[str, Any]) -> list[str]:
    """Return what two corpora are called: their files, or their whole paths where these are called the same."""
    paths = [each["dataset_path"] for each in corpora_of(cfg)]
    files = [Path(path).name for path in paths]
    return files if len(set(files)) > 1 else paths


def stores_of(cfg: dict[str, Any], activations_store: ActivationsStoreSBERT) -> list[ActivationsStoreSBERT]:
    """Return the embeddings of each corpus that is read."""
    from sae_kedro.activations.store import ActivationsStoreSBERT

    return [activations_store, *(ActivationsStoreSBERT(None, other) for other in corpora_of(cfg)[1:])]


def compared(cfg: dict[str, Any], sae: SAE, stores: list[ActivationsStoreSBERT]) -> Compared:
    """Encode the texts, and read what stands beside them."""
    from scipy import sparse

    from sae_kedro.activations.beside import columns_beside
    from sae_kedro.interpretation.codes import encode_corpus

    named = columns_of(cfg)
    columns: dict[str, list[object]] = {name: [] for name in named}
    blocks: list[CodeBlock] = []
    corpora: list[object] = []
    names = names_of(cfg)
    for name, each, store in zip(names, corpora_of(cfg), stores, strict=True):
        found = list(encode_corpus(sae.to(store.device), store))
        blocks += found
        corpora += [name] * sum(len(block.texts) for block in found)
        opened = [open_column(each, key, column) for column, key in named.items()]
        for shard in columns_beside(store.cache, opened) if named else ():
            for place, column in enumerate(named):
                columns[column] += [row[place] for row in shard]
    texts = [text or "" for block in blocks for text in block.texts]
    groups = columns.get(cfg["target_column"] or cfg["label_column"], corpora)
    options = {
        "texts": texts if any(texts) else None,
        "controls": {name: columns[name] for name in cfg["control_columns"] or []} or None,
        "units": columns.get(cfg["unit_column"]),
        "positive": names[1] if len(names) > 1 else None,
        "number": cfg["target_column"] is not None,
    }
    return Compared(sparse.vstack([block.codes for block in blocks], format="csr"), groups, options)


def labels_of(cfg: dict[str, Any], sae: SAE) -> tuple[dict[int, str], dict[int, str]]:
    """Return labels and keywords of latents, as far as `interpret` has found some for this SAE."""
    from sae_kedro.interpretation.features import FILE, Features

    folder = Path(cfg["data_root"], "08_reporting", run_folder(cfg))
    if not (folder / FILE).is_file():
        logger.warning("Latents have numbers for names; `kedro run --pipelines interpret` first gives them labels")
        return {}, {}
    try:
        features = Features.load(folder, sae)
    except InputError as error:
        logger.warning("Latents have numbers for names: %s", error)
        return {}, {}
    named = features.table.dropna(subset="label")
    keywords = dict(zip(named["latent"].tolist(), named["keywords"].tolist(), strict=True))
    return features.labels, keywords


def check_groups(run: PlannedRun, pipeline: str) -> None:
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
    _check_columns(cfg, asked[0])
    run.writes.add(model_folder(cfg))


def _check_columns(cfg: dict[str, Any], asked: str) -> None:
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

"""Several variants at several sparsities, trained and evaluated on the same embeddings. A plain library: no Kedro.

Every finished model is saved at once, in a folder whose name holds a hash of all that decides the result. A run that
was killed goes on where it stopped, and a model is trained anew only if something about it has changed.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sae_kedro.config import post_init_cfg
from sae_kedro.errors import InputError, nearest, shown
from sae_kedro.evaluation.metrics import evaluate
from sae_kedro.keys import NOT_DECISIVE, ExperimentConfig
from sae_kedro.sae.io import load_sae, read_json, save_sae
from sae_kedro.sae.registry import sae_classes
from sae_kedro.training.loop import train
from sae_kedro.training.tracking import Tracker
from sae_kedro.validation import check_model

if TYPE_CHECKING:
    import pandas as pd

    from sae_kedro.activations.store import ActivationsStoreSBERT

logger = logging.getLogger(__name__)

COLUMNS = ("sae_type", "top_k", "l0", "fvu", "cosine", "relative_bias", "dead_fraction", "dense_fraction", "folder")
"""Columns of the table; `folder` is where the SAE lies, below that of all models."""
METRICS_FILE = "metrics.json"
"""Written last: a folder without it holds no finished result."""


def comparison_cfgs(cfg: dict[str, Any]) -> list[dict[str, Any]]:
    """Check a configuration, and derive one for each variant in `sae_types` with each value in `top_ks`.

    Args:
        cfg: A configuration; it may hold options of any of the variants, and its `sae_type` and `top_k` are not read.

    Returns:
        What `post_init_cfg` returns, variant by variant.

    Raises:
        InputError: Whatever is wrong, in one sentence.
    """
    core = {key: value for key, value in cfg.items() if key in ExperimentConfig.model_fields}
    core = check_model(ExperimentConfig, core | {"sae_type": "topk", "top_k": 1})
    names = list(dict.fromkeys(sae_classes.usable() if core["sae_types"] is None else core["sae_types"]))
    for name in names:
        if name not in sae_classes:
            known = ", ".join(sae_classes)
            raise InputError(
                f"sae_types holds {shown(name)}, which is not a registered variant; choose among {known}"
                f"{nearest(name, sae_classes)}"
            )
    for k in core["top_ks"]:
        if k > core["dict_size"]:
            raise InputError(
                f"top_ks holds {k}, which is larger than dict_size={core['dict_size']}; "
                f"choose at most {core['dict_size']}"
            )
    options = {name: set(sae_classes[name].Options.model_fields) for name in names}
    cfgs = []
    for name in names:
        foreign = set().union(*options.values()) - options[name]
        own = {key: value for key, value in cfg.items() if key not in foreign}
        for k in dict.fromkeys(core["top_ks"]):
            label = f"{core['name']}-{name}-k{k}" if core["name"] else None
            cfgs.append(post_init_cfg(own | {"sae_type": name, "top_k": k, "name": label}))
    return cfgs


def compare(cfgs: list[dict[str, Any]], store: ActivationsStoreSBERT, models: Path, reports: Path) -> pd.DataFrame:
    """Train and evaluate one SAE per configuration on one store, except those that are already there.

    Args:
        cfgs: What `comparison_cfgs` returned.
        store: Where embeddings come from, for all.
        models: Each SAE and its metrics go into a folder below this one.
        reports: Each training history goes into a folder of the same name below this one.

    Returns:
        One row per configuration, with `COLUMNS`.

    Raises:
        InputError: As `train` and `evaluate` do; what is finished by then is kept.
    """
    import pandas as pd

    rows = []
    for number, cfg in enumerate(cfgs, start=1):
        folder = models / f"{cfg['sae_type']}-k{cfg['top_k']}-{result_key(cfg, store.data_key)}"
        metrics = load_result(folder)
        state = "" if metrics is None else f" (reused from {folder})"
        logger.info("%d of %d: %s, k %d%s", number, len(cfgs), cfg["sae_type"], cfg["top_k"], state)
        if metrics is None:
            metrics = _train_and_evaluate(cfg, store, folder, reports / folder.name)
        rows.append({name: metrics.get(name) for name in COLUMNS} | {"folder": folder.name})
    return pd.DataFrame(rows, columns=list(COLUMNS))


def result_key(cfg: dict[str, Any], data_key: str) -> str:
    """Hash all that decides a result: the configuration, the embeddings, and the code that trains and evaluates."""
    decisive = {key: value for key, value in cfg.items() if key not in NOT_DECISIVE}
    text = json.dumps([decisive, data_key, _code_hash(cfg["sae_type"])], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def load_result(folder: Path) -> dict[str, Any] | None:
    """Return the metrics of a finished model; None if it is not there, not finished or damaged."""
    if not (folder / METRICS_FILE).is_file():
        return None
    try:
        load_sae(folder)
        metrics = read_json(folder / METRICS_FILE)
        if isinstance(metrics, dict):
            return metrics
        raise InputError(f"{folder / METRICS_FILE} holds no metrics")
    except InputError as error:
        logger.warning("%s is damaged (%s); training it anew", folder, error)
        return None


def markdown_table(table: pd.DataFrame) -> str:
    """Format a table in Markdown, with four decimals and aligned columns."""
    rows = [[f"{v:.4f}" if isinstance(v, float) else str(v) for v in row] for row in table.itertuples(index=False)]
    widths = [max(map(len, column)) for column in zip(table.columns, *rows, strict=True)]
    lines = [list(table.columns), ["-" * width for width in widths], *rows]
    cells = ([cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines)
    return "".join(f"| {' | '.join(line)} |\n" for line in cells)


def _train_and_evaluate(
    cfg: dict[str, Any], store: ActivationsStoreSBERT, folder: Path, report: Path
) -> dict[str, Any]:
    with Tracker(cfg, report) as tracker:
        sae = train(sae_classes[cfg["sae_type"]](cfg), store, cfg, folder, tracker)
        about = {key: cfg[key] for key in ("sae_type", "top_k", "dict_size", "name", "model_name", "dataset_path")}
        metrics = about | evaluate(sae, store).metrics | {"seconds": sae.cfg["training"]["seconds"]}
        (folder / METRICS_FILE).unlink(missing_ok=True)
        save_sae(sae, folder)
        partial = folder / f"{METRICS_FILE}.tmp"
        partial.write_text(json.dumps(metrics, indent=2) + "\n")
        partial.replace(folder / METRICS_FILE)
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
        tracker.summarise(metrics)
    return metrics


def _code_hash(sae_type: str) -> str:
    """Hash the sources of the core and of a variant; a notebook's variant is always new."""
    variant = getattr(sys.modules[sae_classes[sae_type].__module__], "__file__", None)
    if variant is None:
        return uuid.uuid4().hex
    core = Path(__file__).parent
    rooms = ("corpora", "activations", "sae", "training", "evaluation")
    sources = {Path(variant), core / "models.py", core / "machine.py"}
    sources |= {source for room in rooms for source in (core / room).rglob("*.py")}
    digest = hashlib.sha256()
    for source in sorted(sources):
        digest.update(source.name.encode() + source.read_bytes())
    return digest.hexdigest()

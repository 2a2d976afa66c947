"""Several variants at several sparsities, trained and evaluated on the same embeddings.

Every finished model is saved at once, in a folder whose name holds a hash of all that decides the result. A run that
was killed goes on where it stopped, and a model is trained anew only if something about it has changed.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import shutil
import sys
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sae_kedro.comparison.grid import SWEEPABLE, SWEPT_BY_NAME
from sae_kedro.comparison.table import Result, table_of
from sae_kedro.errors import InputError
from sae_kedro.evaluation.metrics import evaluate
from sae_kedro.keys import NOT_DECISIVE, ExperimentConfig
from sae_kedro.sae.io import CFG_FILE, DIGESTS, load_sae, read_json, save_sae
from sae_kedro.sae.registry import sae_classes
from sae_kedro.training.loop import train
from sae_kedro.training.tracking import Tracker

if TYPE_CHECKING:
    import pandas as pd

    from sae_kedro.activations.store import ActivationsStoreSBERT

logger = logging.getLogger(__name__)

METRICS_FILE = "metrics.json"
"""Written last: a folder without it holds no finished result."""
_SHARED = ExperimentConfig.model_fields.keys() - NOT_DECISIVE - SWEEPABLE - {*SWEPT_BY_NAME}
_NOT_SET = {"training", "sae_provider", DIGESTS}  # what saving adds to a configuration


def compare(cfgs: list[dict[str, Any]], store: ActivationsStoreSBERT, models: Path, reports: Path) -> pd.DataFrame:
    """Train and evaluate one SAE per configuration on one store, except those that are already there.

    Args:
        cfgs: What `comparison_cfgs` returned.
        store: Where embeddings come from, for all.
        models: Each SAE and its metrics go into a folder below this one.
        reports: Each training history goes into a folder of the same name below this one.

    Returns:
        One row per configuration and per model that earlier comparisons on these embeddings left there, with
        `COLUMNS` and, after `top_k`, a column for every key that is swept or in which rows differ.

    Raises:
        InputError: As `train` and `evaluate` do; what is finished by then is kept.
    """
    cfgs = [cfg | store.origin for cfg in cfgs]
    results: dict[str, Result] = {}
    for number, cfg in enumerate(cfgs, start=1):
        folder = models / _folder_name(cfg, store.data_key)
        metrics = load_result(folder)
        swept = "".join(f", {key} {cfg[key]}" for key in cfg["sweep"] if cfg.get(key) is not None)
        state = "" if metrics is None else f" (reused from {folder})"
        logger.info("%d of %d: %s, k %d%s%s", number, len(cfgs), cfg["sae_type"], cfg["top_k"], swept, state)
        if metrics is None:
            metrics = _train_and_evaluate(cfg, store.served_by(cfg), folder, reports / folder.name)
        results[folder.name] = Result(cfg, metrics)
    return table_of(results | _earlier(models, cfgs[0], store.data_key, results), list(cfgs[0]["sweep"]))


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


def _folder_name(cfg: dict[str, Any], data_key: str) -> str:
    return f"{cfg['sae_type']}-k{cfg['top_k']}-{result_key(cfg, data_key)}"


def _earlier(models: Path, like: dict[str, Any], data_key: str, known: Iterable[str]) -> dict[str, Result]:
    """Return what earlier comparisons left and this one would reuse, by variant, k and the rest of what was set."""
    found, n_others = {}, 0
    for folder in models.glob("*/"):
        if folder.name in known or not (folder / METRICS_FILE).is_file():
            continue
        try:
            saved, metrics = read_json(folder / CFG_FILE), read_json(folder / METRICS_FILE)
            cfg = {key: value for key, value in saved.items() if key not in _NOT_SET}
            same = all(cfg[key] == like[key] for key in _SHARED) and folder.name == _folder_name(cfg, data_key)
            if same and isinstance(metrics, dict):
                found[folder.name] = Result(cfg, metrics)
                continue
        except (InputError, KeyError, AttributeError):  # damaged, or of a variant that is no longer installed
            pass
        n_others += 1
    if n_others:
        logger.info(
            "The table leaves out %d models in %s: of other texts, another encoder or device, or other code",
            n_others,
            models,
        )
    by_setting = sorted(found, key=lambda name: _order(found[name].cfg))
    return {name: found[name] for name in by_setting}


def _order(cfg: dict[str, Any]) -> tuple[Any, ...]:
    settings = (cfg[key] for key in sorted(cfg) if key not in NOT_DECISIVE)
    ranks = ((value, "") if isinstance(value, (int, float)) else (math.inf, json.dumps(value)) for value in settings)
    return cfg["sae_type"], cfg["top_k"], *ranks


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
    core = Path(__file__).parents[1]
    rooms = ("corpora", "activations", "sae", "training", "evaluation")
    sources = {Path(variant), core / "models.py", core / "machine.py"}
    sources |= {source for room in rooms for source in (core / room).rglob("*.py")}
    digest = hashlib.sha256()
    for source in sorted(sources):
        digest.update(source.name.encode() + source.read_bytes())
    return digest.hexdigest()

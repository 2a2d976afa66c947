"""What must hold before an SAE is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sae_kedro.errors import InputError, shown
from sae_kedro.keys import NOT_DECISIVE
from sae_kedro.pipelines.planned_run import PlannedRun
from sae_kedro.pipelines.train.nodes import model_folder
from sae_kedro.sae.io import CFG_FILE, read_json
from sae_kedro.training.checkpoint import check_resumable
from sae_kedro.training.feasibility import check_trainable

MOST_NAMED = 4
"""Keys that a warning names."""


def train_sae(run: PlannedRun) -> None:
    """There are texts and memory to train with, and a checkpoint to go on from belongs to this run."""
    cfg, folder = run.cfg, model_folder(run.cfg)
    if cfg["resume"]:
        check_resumable(folder / "checkpoints", cfg)
    check_trainable(cfg)
    if changed := _changes(folder, cfg):
        run.notes.append(f"This run replaces {folder} ({changed}); name=... keeps both")
    run.writes.add(folder)
    run.starts_anew = not cfg["resume"]


def _changes(folder: Path, cfg: dict[str, Any]) -> str:
    """Say in what the SAE that is saved in a folder was configured otherwise."""
    try:
        saved = read_json(folder / CFG_FILE)
    except InputError:
        return ""
    keys = [key for key in cfg if key not in NOT_DECISIVE and saved.get(key) != cfg[key]]
    named = [f"{key}={shown(saved.get(key))}, now {shown(cfg[key])}" for key in keys[:MOST_NAMED]]
    return "; ".join(named) + (f"; and {len(keys) - MOST_NAMED} more" if len(keys) > MOST_NAMED else "")

"""What must hold before an SAE is trained."""

from __future__ import annotations

from sae_kedro.pipelines.planned_run import PlannedRun
from sae_kedro.pipelines.train.nodes import model_folder
from sae_kedro.training.checkpoint import check_resumable
from sae_kedro.training.feasibility import check_trainable


def train_sae(run: PlannedRun) -> None:
    """There are texts and memory to train with, and a checkpoint to go on from belongs to this run."""
    if run.cfg["resume"]:
        check_resumable(model_folder(run.cfg) / "checkpoints", run.cfg)
    check_trainable(run.cfg)

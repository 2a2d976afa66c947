"""Nodes that train an SAE. Heavy libraries load inside them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sae_kedro.config import run_folder

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from sae_kedro.activations.store import ActivationsStoreSBERT
    from sae_kedro.evaluation.metrics import Evaluation
    from sae_kedro.sae.base import SAE
    from sae_kedro.training.tracking import Tracker


def model_folder(cfg: dict[str, Any]) -> Path:
    """Return where the SAE of a configuration and its checkpoints lie."""
    return Path(cfg["data_root"], "06_models", run_folder(cfg))


def train_sae(cfg: dict[str, Any], activations_store: ActivationsStoreSBERT) -> tuple[SAE, Tracker]:
    """Build the chosen variant and train it, tracking metrics in `history.jsonl` and W&B."""
    from sae_kedro.sae.registry import sae_classes
    from sae_kedro.training.loop import train
    from sae_kedro.training.tracking import Tracker

    sae = sae_classes[cfg["sae_type"]](cfg)
    tracker = Tracker(cfg, Path(cfg["data_root"], "08_reporting", run_folder(cfg)))
    try:
        return train(sae, activations_store, cfg, model_folder(cfg), tracker), tracker
    except BaseException:
        tracker.close(exit_code=1)
        raise


def plot_training(tracker: Tracker) -> go.Figure:
    """Plot the training curves."""
    from sae_kedro.evaluation.plots import training_curves

    return training_curves(tracker.history)


def close_tracker(tracker: Tracker, evaluation: Evaluation, downstream: dict[str, Any]) -> None:
    """Add the final metrics to the tracked run and finish it."""
    tracker.summarise(evaluation.metrics | downstream)
    tracker.close()

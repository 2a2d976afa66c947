"""Nodes that train an SAE. Heavy libraries load inside them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from sae_kedro.activations.store import ActivationsStoreSBERT
    from sae_kedro.evaluation.metrics import Evaluation
    from sae_kedro.sae.base import SAE
    from sae_kedro.training.tracking import Tracker


def train_sae(cfg: dict[str, Any], activations_store: ActivationsStoreSBERT) -> tuple[SAE, Tracker]:
    """Build the chosen variant and train it, tracking metrics in `history.jsonl` and W&B."""
    from sae_kedro.sae.registry import sae_classes
    from sae_kedro.training.tracking import Tracker
    from sae_kedro.training.trainer import train

    root, kind = Path(cfg["data_root"]), cfg["sae_type"]
    sae = sae_classes[kind](cfg)
    tracker = Tracker(cfg, root / "08_reporting" / kind)
    try:
        return train(sae, activations_store, cfg, root / "06_models" / kind, tracker), tracker
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

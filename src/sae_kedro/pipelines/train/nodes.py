"""Nodes that train an SAE. Heavy libraries load inside them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from sae_kedro.activations.store import ActivationsStoreSBERT
    from sae_kedro.sae.base import SAE
    from sae_kedro.training.tracking import Tracker


def build_sae(cfg: dict[str, Any]) -> SAE:
    """Build the chosen variant with fresh weights."""
    from sae_kedro.sae.registry import sae_classes

    return sae_classes[cfg["sae_type"]](cfg)


def train_sae(cfg: dict[str, Any], untrained_sae: SAE, activations_store: ActivationsStoreSBERT) -> tuple[SAE, Tracker]:
    """Train the SAE, tracking metrics in `history.jsonl` and W&B."""
    from sae_kedro.training.tracking import Tracker
    from sae_kedro.training.trainer import train

    root, kind = Path(cfg["data_root"]), cfg["sae_type"]
    tracker = Tracker(cfg, root / "08_reporting" / kind)
    try:
        return train(untrained_sae, activations_store, cfg, root / "06_models" / kind, tracker), tracker
    except BaseException:
        tracker.close(exit_code=1)
        raise


def plot_training(tracker: Tracker) -> go.Figure:
    """Plot the training curves."""
    from sae_kedro.evaluation.plots import training_curves

    return training_curves(tracker.history)


def close_tracker(tracker: Tracker, metrics: dict[str, Any]) -> None:
    """Add the final metrics to the tracked run and finish it."""
    tracker.summarise(metrics)
    tracker.close()

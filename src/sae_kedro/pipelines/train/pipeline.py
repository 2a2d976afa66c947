"""cfg, activations_store -> sae, training_curves; the tracker stays open until the evaluation is in."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from sae_kedro.pipelines.train import nodes


def create_pipeline() -> Pipeline:
    """Train the chosen variant on the activation buffer."""
    return Pipeline(
        [
            Node(nodes.train_sae, ["cfg", "activations_store"], ["sae", "tracker"], name="train_sae"),
            Node(nodes.plot_training, "tracker", "training_curves", name="plot_training"),
            Node(nodes.close_tracker, ["tracker", "evaluation", "downstream"], None, name="close_tracker"),
        ]
    )

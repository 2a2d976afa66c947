"""cfg, activations_store -> sae, training curves; the tracker stays open until the evaluation is in."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from sae_kedro.pipelines.train import nodes


def create_pipeline() -> Pipeline:
    """Train the chosen variant on the activation buffer."""
    train_sae = Node(nodes.train_sae, ["cfg", "activations_store"], ["sae", "tracker"], name="train_sae", tags="train")
    report = [
        Node(nodes.plot_training, "tracker", "figure_training_curves", name="plot_training", tags="train"),
        Node(nodes.close_tracker, ["tracker", "evaluation", "downstream"], None, name="close_tracker", tags="evaluate"),
    ]
    return Pipeline([train_sae, Pipeline(report, namespace="report", prefix_datasets_with_namespace=False)])

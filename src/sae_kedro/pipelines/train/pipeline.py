"""activations_store -> sae, training_curves."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from sae_kedro.pipelines.train import nodes


def create_pipeline() -> Pipeline:
    """Train the chosen variant on the activation buffer."""
    return Pipeline(
        [
            Node(nodes.build_sae, "cfg", "untrained_sae", name="build_sae"),
            Node(
                nodes.train_sae,
                ["cfg", "untrained_sae", "activations_store"],
                ["sae", "tracker"],
                name="train_sae",
            ),
            Node(nodes.plot_training, "tracker", "training_curves", name="plot_training"),
            Node(nodes.close_tracker, ["tracker", "metrics"], None, name="close_tracker"),
        ]
    )

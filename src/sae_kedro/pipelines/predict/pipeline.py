"""cfg, sae, activations_store -> what predicts a target, sentences and a figure."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from sae_kedro.pipelines.predict import nodes


def create_pipeline() -> Pipeline:
    """Find the fewest latents that tell a target, and score them on unseen texts."""
    return Pipeline(
        [
            Node(
                nodes.predict_target,
                ["cfg", "sae", "activations_store"],
                ["prediction", "prediction_sentences", "prediction_scores"],
                name="predict_target",
            ),
        ],
        tags="predict",
        namespace="predict",
        prefix_datasets_with_namespace=False,
    )

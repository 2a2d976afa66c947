"""cfg, sae, activations_store -> features, the best of them as a text."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from sae_kedro.pipelines.interpret import nodes


def create_pipeline() -> Pipeline:
    """Say what every latent stands for."""
    return Pipeline(
        [
            Node(nodes.interpret_latents, ["cfg", "sae", "activations_store"], "features", name="interpret_latents"),
            Node(nodes.show_features, "features", "best_features", name="show_features"),
        ],
        tags="interpret",
        namespace="interpret",
        prefix_datasets_with_namespace=False,
    )

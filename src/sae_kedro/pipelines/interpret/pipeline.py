"""cfg, sae, activations_store -> features, texts on the map of features, the best features as a text."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from sae_kedro.pipelines.interpret import nodes


def create_pipeline(after_training: bool = False) -> Pipeline:
    """Say what every latent stands for.

    Args:
        after_training: Whether this follows the training of the SAE. Too few texts are no reason to fail then.
    """
    interpret = nodes.interpret_trained if after_training else nodes.interpret_latents
    return Pipeline(
        [
            Node(interpret, ["cfg", "sae", "activations_store"], ["features", "text_map"], name=interpret.__name__),
            Node(nodes.show_features, "features", "best_features", name="show_features"),
        ],
        tags="interpret",
        namespace="interpret",
        prefix_datasets_with_namespace=False,
    )

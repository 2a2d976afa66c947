"""cfg, sae, activations_store -> features, the best of them, texts on their map, and a page to explore them."""

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
            Node(nodes.code_corpus, ["sae", "activations_store"], "coded", name="code_corpus"),
            Node(interpret, ["cfg", "sae", "activations_store", "coded"], "features", name=interpret.__name__),
            Node(nodes.map_texts, ["coded", "features"], "text_map", name="map_texts"),
            Node(nodes.show_features, "features", "best_features", name="show_features"),
            Node(nodes.draw_explorer, ["cfg", "sae", "coded", "features"], "explorer", name="draw_explorer"),
        ],
        tags="interpret",
        namespace="interpret",
        prefix_datasets_with_namespace=False,
    )

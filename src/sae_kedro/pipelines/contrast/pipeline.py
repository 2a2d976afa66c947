"""cfg, sae, activations_store -> contrast, its summary, sentences and a figure."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from sae_kedro.pipelines.contrast import nodes


def create_pipeline() -> Pipeline:
    """Find the latents that set groups of texts apart."""
    return Pipeline(
        [
            Node(
                nodes.contrast_groups,
                ["cfg", "sae", "activations_store"],
                ["contrast", "contrast_summary"],
                name="contrast_groups",
            ),
            Node(
                nodes.tell_contrast,
                ["cfg", "contrast", "contrast_summary"],
                ["contrast_sentences", "contrast_forest"],
                name="tell_contrast",
            ),
        ],
        tags="contrast",
        namespace="contrast",
        prefix_datasets_with_namespace=False,
    )

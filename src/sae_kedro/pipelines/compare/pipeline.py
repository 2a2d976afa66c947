"""parameters -> cfg, variants; texts -> embeddings -> activations_store; variants -> comparison, pareto."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from sae_kedro.pipelines import encode
from sae_kedro.pipelines.compare import nodes


def create_pipeline() -> Pipeline:
    """Encode a corpus once, then train and evaluate every variant at every k on it."""
    text_to_buffer = encode.create_pipeline()
    return (
        text_to_buffer
        - text_to_buffer.only_nodes("encode.load_config")
        + Pipeline(
            [
                Node(nodes.plan_comparison, "parameters", ["cfg", "variants"], name="plan_comparison"),
                Node(nodes.compare_variants, ["variants", "activations_store"], "comparison", name="compare_variants"),
                Node(nodes.write_comparison, "comparison", "comparison_table", name="write_comparison"),
                Node(nodes.plot_pareto, "comparison", "pareto", name="plot_pareto"),
            ],
            tags="compare",
        )
    )

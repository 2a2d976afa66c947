"""parameters -> cfg -> model, texts -> embeddings -> activations_store."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from sae_kedro.pipelines.encode import nodes


def create_pipeline() -> Pipeline:
    """Stream a corpus and encode it into the activation buffer."""
    return Pipeline(
        [
            Node(nodes.load_config, "parameters", "cfg", name="load_config"),
            Node(nodes.stream_texts, "cfg", "texts", name="stream_texts"),
            Node(nodes.load_model, "cfg", "model", name="load_model"),
            Node(nodes.encode_texts, ["cfg", "model", "texts"], "embeddings", name="encode_texts"),
            Node(
                nodes.buffer_activations,
                ["cfg", "embeddings"],
                "activations_store",
                name="buffer_activations",
            ),
        ],
        tags="encode",
        namespace="encode",
        prefix_datasets_with_namespace=False,
    )

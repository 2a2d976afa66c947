"""cfg, sae, activations_store -> codes."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from sae_kedro.pipelines.codes import nodes


def create_pipeline() -> Pipeline:
    """Write the codes of a corpus."""
    return Pipeline(
        [Node(nodes.write_codes, ["cfg", "sae", "activations_store"], "codes", name="write_codes")], tags="codes"
    )

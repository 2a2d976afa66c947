"""Every pipeline, by name."""

from __future__ import annotations

from kedro.pipeline import Pipeline


def register_pipelines() -> dict[str, Pipeline]:
    """Return the pipelines that `kedro run --pipelines NAME` accepts."""
    from sae_kedro.pipelines import compare, encode, evaluate, train

    text_to_buffer, buffer_to_sae, sae_to_metrics = (module.create_pipeline() for module in (encode, train, evaluate))
    whole = text_to_buffer + buffer_to_sae + sae_to_metrics
    return {
        "encode": text_to_buffer,
        "train": whole,
        "evaluate": text_to_buffer + sae_to_metrics,
        "compare": compare.create_pipeline(),
        "__default__": whole,
    }

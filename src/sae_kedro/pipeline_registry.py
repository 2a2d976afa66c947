"""Every pipeline, by name."""

from __future__ import annotations

from importlib import import_module

from kedro.pipeline import Pipeline


def register_pipelines() -> dict[str, Pipeline]:
    """Return the pipelines that `kedro run --pipelines NAME` accepts."""
    whole = _part("encode") + _part("train") + _part("evaluate", "figure_training_curves")
    return {
        "encode": _part("encode"),
        "train": whole,
        "evaluate": _part("encode") + _part("evaluate"),
        "compare": _part("compare"),
        "__default__": whole,
    }


def _part(folder: str, *inputs: str) -> Pipeline:
    """Create the pipeline of a folder of `pipelines`, with datasets of the others that it takes where they are made."""
    return import_module(f"sae_kedro.pipelines.{folder}").create_pipeline(*inputs)

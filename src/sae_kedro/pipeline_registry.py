"""Every pipeline, by name."""

from __future__ import annotations

from importlib import import_module

from kedro.pipeline import Pipeline


def register_pipelines() -> dict[str, Pipeline]:
    """Return the pipelines that `kedro run --pipelines NAME` accepts."""
    whole = _part("encode") + _part("train") + _part("evaluate", after_training=True)
    return {
        "encode": _part("encode"),
        "train": whole,
        "evaluate": _part("encode") + _part("evaluate"),
        "compare": _part("compare"),
        "codes": _part("encode") + _part("codes"),
        "interpret": _part("encode") + _part("interpret"),
        "contrast": _part("encode") + _part("contrast"),
        "predict": _part("encode") + _part("predict"),
        "__default__": whole + _part("interpret", after_training=True),
    }


def _part(folder: str, **how: bool) -> Pipeline:
    """Create the pipeline of a folder of `pipelines`."""
    return import_module(f"sae_kedro.pipelines.{folder}").create_pipeline(**how)

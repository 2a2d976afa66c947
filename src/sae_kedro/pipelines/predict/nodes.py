"""A node that finds what predicts a target. Heavy libraries load inside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sae_kedro.pipelines.groups import compared, labels_of, stores_of

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from sae_kedro.activations.store import ActivationsStoreSBERT
    from sae_kedro.sae.base import SAE


def predict_target(
    cfg: dict[str, Any], sae: SAE, activations_store: ActivationsStoreSBERT
) -> tuple[dict[str, Any], str, go.Figure]:
    """Find the fewest latents that tell a target, say what they gain, and draw it."""
    import numpy as np

    from sae_kedro.interpretation.predict import predict
    from sae_kedro.interpretation.told import gains, prediction_sentences

    stores = stores_of(cfg, activations_store)
    vectors = [store.cache.read(index).vectors.numpy() for store in stores for index in store.cache.iter_shards()]
    asked = compared(cfg, sae, stores)
    labels, _ = labels_of(cfg, sae)
    found = predict(asked.codes, asked.groups, **asked.options, labels=labels, vectors=np.concatenate(vectors))
    name = cfg["target_column"] or cfg["label_column"] or cfg["contrast_path"]
    tables = {"scores": found.scores.to_dict("records"), "features": found.features.to_dict("records")}
    return found.summary | tables, "\n".join(prediction_sentences(found, name)) + "\n", gains(found, name)

"""Nodes that find what sets groups of texts apart. Heavy libraries load inside them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sae_kedro.pipelines.groups import compared, labels_of, stores_of

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

    from sae_kedro.activations.store import ActivationsStoreSBERT
    from sae_kedro.sae.base import SAE


def contrast_groups(
    cfg: dict[str, Any], sae: SAE, activations_store: ActivationsStoreSBERT
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Test every latent against every group; of all rows, those worth reading are kept."""
    from sae_kedro.interpretation.contrast import contrast, worth_reading

    asked = compared(cfg, sae, stores_of(cfg, activations_store))
    labels, keywords = labels_of(cfg, sae)
    found = contrast(asked.codes, asked.groups, **asked.options, labels=labels, keywords=keywords)
    if cfg["target_column"] is not None:
        found.table["group"] = cfg["target_column"] + " " + found.table["group"]
    table = worth_reading(found.table)
    return table, found.summary | {"n_written": len(table)}


def tell_contrast(cfg: dict[str, Any], contrast: pd.DataFrame, summary: dict[str, Any]) -> tuple[str, go.Figure]:
    """Say what was found in sentences, and draw it."""
    from sae_kedro.interpretation.contrast import STRONGEST
    from sae_kedro.interpretation.told import forest, sentences, summed_up

    kept = f"contrast.csv has these and the {STRONGEST} strongest of each group: {summary['n_written']:,} rows"
    what = "texts with {}" if cfg["target_column"] is not None else "texts of {}"
    told = sentences(contrast, what=what) or ["no latent sets a group apart in both halves of the texts"]
    return "\n".join([summed_up(summary), kept, *told]) + "\n", forest(contrast)

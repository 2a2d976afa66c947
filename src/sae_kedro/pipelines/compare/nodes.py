"""Nodes that compare variants. Heavy libraries load inside them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

    from sae_kedro.activations.store import ActivationsStoreSBERT


def plan_comparison(parameters: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Check the parameters, and derive the configuration of every model; texts and embeddings are the same for all."""
    from sae_kedro.comparison.grid import comparison_cfgs

    cfgs = comparison_cfgs(parameters)
    return cfgs[0], cfgs


def compare_variants(cfgs: list[dict[str, Any]], activations_store: ActivationsStoreSBERT) -> pd.DataFrame:
    """Train and evaluate every model that is not there yet."""
    from sae_kedro.comparison.models import compare

    root = Path(cfgs[0]["data_root"])
    return compare(cfgs, activations_store, root / "06_models" / "compare", root / "08_reporting" / "compare")


def write_comparison(comparison: pd.DataFrame) -> str:
    """Write the table in Markdown."""
    from sae_kedro.comparison.table import markdown_table

    return markdown_table(comparison)


def plot_pareto(comparison: pd.DataFrame) -> go.Figure:
    """Plot FVU against L0, one line per variant and setting."""
    from sae_kedro.evaluation.plots import pareto

    return pareto(comparison)

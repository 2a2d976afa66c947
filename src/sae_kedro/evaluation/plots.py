"""Plotly figures of a training run and of a comparison; those of an evaluation are in `figures`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go
from plotly.colors import qualitative
from plotly.subplots import make_subplots

from sae_kedro.evaluation.style import styled

if TYPE_CHECKING:
    import pandas as pd


def training_curves(history: list[dict[str, Any]]) -> go.Figure:
    """Plot loss, FVU, L0 and dead latents against the training step."""
    panels = {"loss": "Loss", "fvu": "FVU in training", "l0": "L0", "dead": "Dead latents"}
    figure = make_subplots(rows=2, cols=2, subplot_titles=list(panels.values()), vertical_spacing=0.16)
    steps = [row["step"] for row in history]
    for index, key in enumerate(panels):
        line = go.Scatter(x=steps, y=[row[key] for row in history], mode="lines+markers", marker={"size": 3})
        figure.add_trace(line, row=index // 2 + 1, col=index % 2 + 1)
    figure.update_annotations(font_size=13)
    figure.update_xaxes(title_text="step", row=2)
    figure.update_yaxes(rangemode="tozero")
    return styled(figure, "Training").update_layout(height=420)


def pareto(comparison: pd.DataFrame) -> go.Figure:
    """Plot FVU against L0, one line per variant; the more latents are dead, the larger the marker.

    Args:
        comparison: One row per SAE, with `sae_type`, `top_k`, `l0`, `fvu` and `dead_fraction`.
    """
    figure = go.Figure()
    for sae_type, unsorted in comparison.groupby("sae_type", sort=False):
        rows = unsorted.sort_values("l0")
        dead = rows["dead_fraction"].tolist()
        labels = [f"k {k}, {share:.1%} dead" for k, share in zip(rows["top_k"], dead, strict=True)]
        points = {"x": rows["l0"].tolist(), "y": rows["fvu"].tolist(), "text": labels}
        sizes = {"size": [8 + 32 * share for share in dead]}
        figure.add_trace(go.Scatter(**points, name=sae_type, mode="lines+markers", marker=sizes))
    ticks = sorted(set(comparison["top_k"].tolist()))
    figure.update_xaxes(title_text="L0", type="log", tickvals=ticks, ticktext=[str(k) for k in ticks])
    figure.update_yaxes(title_text="FVU", rangemode="tozero")
    styled(figure, "Reconstruction against sparsity (larger markers: more dead latents)")
    for index, line in enumerate(figure.data):
        line.marker.color = line.line.color = qualitative.D3[index % len(qualitative.D3)]
    return figure.update_layout(showlegend=True)

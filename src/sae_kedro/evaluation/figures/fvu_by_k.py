"""What is lost when fewer codes are kept."""

from __future__ import annotations

import plotly.graph_objects as go

from sae_kedro.evaluation.metrics import Evaluation
from sae_kedro.evaluation.style import styled


def figure(evaluation: Evaluation) -> go.Figure:
    """Plot FVU when only the k largest codes of each text are kept."""
    curve = evaluation.fvu_by_k
    plot = go.Figure(go.Scatter(x=list(curve), y=list(curve.values()), mode="lines+markers"))
    plot.update_xaxes(
        title_text="codes kept per text", type="log", tickvals=list(curve), ticktext=[str(k) for k in curve]
    )
    plot.update_yaxes(title_text="FVU", rangemode="tozero")
    return styled(plot, "Reconstruction against k")

"""The one style of all plots."""

from __future__ import annotations

import plotly.graph_objects as go

INK, ACCENT = "#334155", "#2563eb"


def styled(figure: go.Figure, title: str) -> go.Figure:
    """Give a figure its title and the look that all have."""
    figure.update_traces(marker_color=ACCENT)
    return figure.update_layout(
        title=title,
        template="plotly_white",
        showlegend=False,
        bargap=0.05,
        font={"color": INK},
        margin={"t": 70, "r": 24},
    )

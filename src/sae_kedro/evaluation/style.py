"""The one style of all plots."""

from __future__ import annotations

import plotly.graph_objects as go

INK, ACCENT, AGAINST, MUTED = "#334155", "#2563eb", "#dc2626", "#94a3b8"
_AXIS = {"gridcolor": "#e2e8f0", "zerolinecolor": "#cbd5e1", "automargin": True, "title": {"standoff": 8}}
_LOOK = go.layout.Template(
    layout={
        "colorway": [ACCENT],
        "font": {"color": INK, "family": "system-ui,sans-serif"},
        "paper_bgcolor": "white",
        "plot_bgcolor": "white",
        "xaxis": _AXIS,
        "yaxis": _AXIS,
    }
)


def styled(figure: go.Figure, title: str) -> go.Figure:
    """Give a figure its title and the look that all have."""
    return figure.update_layout(
        title=title, template=_LOOK, showlegend=False, bargap=0.05, margin={"t": 70, "r": 24, "l": 24, "b": 24}
    )

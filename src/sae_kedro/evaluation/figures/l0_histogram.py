"""How many latents are active per text."""

from __future__ import annotations

import plotly.graph_objects as go

from sae_kedro.evaluation.metrics import Evaluation
from sae_kedro.evaluation.style import INK, styled


def figure(evaluation: Evaluation) -> go.Figure:
    """Plot how many latents are active per held-out text; where all texts have the same, show that number."""
    counts = evaluation.l0_counts
    used = counts.nonzero().squeeze(1)
    low, high = int(used[0]), int(used[-1])
    title = "Active latents per text"
    if low == high:
        number = {"value": low, "number_font_size": 48, "title": {"text": "the same for every text", "font_size": 13}}
        return styled(go.Figure(go.Indicator(number)), title).update_layout(height=160)
    plot = go.Figure(go.Bar(x=list(range(low, high + 1)), y=counts[low : high + 1].tolist()))
    mean = evaluation.metrics["l0"]
    plot.add_vline(x=mean, line_dash="dot", line_color=INK, annotation_text=f"mean {mean:.2f}", annotation_yshift=14)
    plot.update_xaxes(title_text="active latents", dtick=1 if high - low < 10 else None)
    plot.update_yaxes(title_text="texts")
    return styled(plot, title)

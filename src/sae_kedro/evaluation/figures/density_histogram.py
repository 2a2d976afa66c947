"""How often latents fire."""

from __future__ import annotations

import math

import plotly.graph_objects as go
import torch

from sae_kedro.evaluation.metrics import Evaluation
from sae_kedro.evaluation.style import styled

BARS_PER_DECADE = 10


def figure(evaluation: Evaluation) -> go.Figure:
    """Plot how many latents fire on which share of the held-out texts; silent ones have a bar of their own."""
    density = evaluation.density
    bars = (density[density > 0].log10() * BARS_PER_DECADE).floor().int()
    lowest = math.floor(min(bars.tolist(), default=0) / BARS_PER_DECADE)
    shares, latents = torch.unique(bars, return_counts=True)
    x = [lowest - 0.5, *((shares + 0.5) / BARS_PER_DECADE).tolist()]
    plot = go.Figure(go.Bar(x=x, y=[int((density == 0).sum()), *latents.tolist()], width=0.9 / BARS_PER_DECADE))
    ticks = list(range(lowest, 1))
    labels = ["silent", *(f"{10**tick:.6g}" for tick in ticks)]
    plot.update_xaxes(title_text="share of texts", tickvals=[lowest - 0.5, *ticks], ticktext=labels)
    plot.update_xaxes(range=[lowest - 0.7, 0.2])
    plot.update_yaxes(title_text="latents")
    return styled(plot, "How often each latent fires")

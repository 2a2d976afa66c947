"""How often latents fire."""

from __future__ import annotations

import plotly.graph_objects as go
import torch

from sae_kedro.evaluation.metrics import Evaluation
from sae_kedro.evaluation.style import styled


def figure(evaluation: Evaluation) -> go.Figure:
    """Plot how many latents fire on which share of the held-out texts; silent ones have a bar of their own."""
    density = evaluation.density
    lowest = -6.0
    logs = torch.where(density > 0, density.clamp_min(10**lowest).log10(), torch.tensor(lowest - 0.5).double())
    plot = go.Figure(go.Histogram(x=logs.tolist(), xbins={"start": lowest - 0.6, "end": 0.1, "size": 0.1}))
    ticks = list(range(int(lowest), 1))
    labels = ["silent", *(f"1e{tick}" if tick else "1" for tick in ticks)]
    plot.update_xaxes(title_text="share of texts", tickvals=[lowest - 0.5, *ticks], ticktext=labels)
    plot.update_yaxes(title_text="latents")
    return styled(plot, "How often each latent fires")

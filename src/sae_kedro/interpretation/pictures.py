"""What latents stand for, and why texts are close, as plots."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from sae_kedro.evaluation.style import ACCENT, AGAINST, INK, MUTED, styled
from sae_kedro.interpretation.explain import Explanation
from sae_kedro.interpretation.features import Features

N_BARS = 10
BINS = {"start": 0.0, "end": 1.0, "size": 0.02}


def draw_explanation(found: Explanation, n: int = N_BARS) -> go.Figure:
    """Draw an explanation as bars that add up: the largest `n` shares of latents, the others together, and the rest.

    Args:
        found: From `explain`, `explain_difference` or `explain_ranking`.
        n: Latents with a bar of their own.
    """
    latents = [term for term in found.terms if term.latent is not None]
    bars = [(f"{term.label} ({term.kind})" if term.kind != "both" else term.label, term.value) for term in latents[:n]]
    if rest := latents[n:]:
        bars.append((f"{len(rest)} more latents", sum(term.value for term in rest)))
    bars += [(term.label, term.value) for term in found.terms if term.latent is None]
    names, values = zip(*bars[::-1], strict=True)
    place = list(range(len(bars)))  # two latents may have one label
    colours = [ACCENT if value >= 0 else AGAINST for value in values]
    said = [f"{value:.3f}" for value in values]
    plot = go.Figure(go.Bar(x=values, y=place, orientation="h", marker_color=colours, text=said, cliponaxis=False))
    plot.update_yaxes(tickvals=place, ticktext=names, automargin=True)
    plot.update_xaxes(title_text="share")
    title = f"{found.measure.replace('_', ' ').capitalize()} {found.value:.3f}: what it is made of"
    return styled(plot, title).update_layout(height=140 + 26 * len(bars))


def draw_scores(features: Features) -> go.Figure:
    """Draw how many latents have labels of which AUROC, and how labels of other latents do in their place."""
    plot = go.Figure()
    for name, column, colour in (("its own label", "label_auroc", ACCENT), ("labels of others", "floor_auroc", MUTED)):
        values = features.table[column].dropna().astype(np.float64)
        plot.add_histogram(
            x=values, xbins=BINS, name=f"{name}, mean {values.mean():.2f}", marker_color=colour, opacity=0.75
        )
    plot.add_vline(x=0.5, line_dash="dot", line_color=INK)
    plot.update_xaxes(title_text="AUROC on texts that made no label", range=[0, 1])
    plot.update_yaxes(title_text="latents")
    title = "How well labels tell the texts of their latent"
    return styled(plot, title).update_layout(barmode="overlay", showlegend=True, legend={"x": 0, "y": 1})

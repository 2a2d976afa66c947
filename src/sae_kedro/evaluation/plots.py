"""Plotly figures of a training run and of an evaluation, in one style."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go
import torch
from plotly.colors import qualitative
from plotly.subplots import make_subplots

from sae_kedro.evaluation.metrics import Evaluation
from sae_kedro.evaluation.report import shown_metrics

if TYPE_CHECKING:
    import pandas as pd

_INK, _ACCENT = "#334155", "#2563eb"


def training_curves(history: list[dict[str, Any]]) -> go.Figure:
    """Plot loss, FVU, L0 and dead latents against the training step."""
    panels = {"loss": "Loss", "fvu": "FVU of training batches", "l0": "L0", "dead": "Dead latents"}
    figure = make_subplots(rows=2, cols=2, subplot_titles=list(panels.values()), vertical_spacing=0.16)
    steps = [row["step"] for row in history]
    for index, key in enumerate(panels):
        line = go.Scatter(x=steps, y=[row[key] for row in history], mode="lines", line={"color": _ACCENT})
        figure.add_trace(line, row=index // 2 + 1, col=index % 2 + 1)
    figure.update_xaxes(title_text="step", row=2)
    figure.update_yaxes(rangemode="tozero")
    return _styled(figure, "Training")


def density_histogram(evaluation: Evaluation) -> go.Figure:
    """Plot how many latents fire on which share of the held-out texts; silent ones have a bar of their own."""
    density = evaluation.density
    lowest = -6.0
    logs = torch.where(density > 0, density.clamp_min(10**lowest).log10(), torch.tensor(lowest - 0.5).double())
    figure = go.Figure(go.Histogram(x=logs.tolist(), xbins={"start": lowest - 0.6, "end": 0.1, "size": 0.1}))
    ticks = list(range(int(lowest), 1))
    labels = ["silent", *(f"1e{tick}" if tick else "1" for tick in ticks)]
    figure.update_xaxes(title_text="share of texts", tickvals=[lowest - 0.5, *ticks], ticktext=labels)
    figure.update_yaxes(title_text="latents")
    return _styled(figure, "How often each latent fires")


def l0_histogram(evaluation: Evaluation) -> go.Figure:
    """Plot how many latents are active per held-out text."""
    counts = evaluation.l0_counts
    used = counts.nonzero().squeeze(1)
    low, high = int(used[0]), int(used[-1])
    figure = go.Figure(go.Bar(x=list(range(low, high + 1)), y=counts[low : high + 1].tolist()))
    mean = evaluation.metrics["l0"]
    figure.add_vline(x=mean, line_dash="dot", line_color=_INK, annotation_text=f"mean {mean:.2f}")
    figure.update_xaxes(title_text="active latents")
    figure.update_yaxes(title_text="texts")
    return _styled(figure, "Active latents per text")


def fvu_by_k(evaluation: Evaluation) -> go.Figure:
    """Plot FVU when only the k largest codes of each text are kept."""
    curve = evaluation.fvu_by_k
    figure = go.Figure(go.Scatter(x=list(curve), y=list(curve.values()), mode="lines+markers", line={"color": _ACCENT}))
    figure.update_xaxes(
        title_text="codes kept per text", type="log", tickvals=list(curve), ticktext=[str(k) for k in curve]
    )
    figure.update_yaxes(title_text="FVU", rangemode="tozero")
    return _styled(figure, "Reconstruction against k")


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
    _styled(figure, "Reconstruction against sparsity (larger markers: more dead latents)")
    for index, line in enumerate(figure.data):
        line.marker.color = line.line.color = qualitative.D3[index % len(qualitative.D3)]
    return figure.update_layout(showlegend=True)


def report_html(metrics: dict[str, Any], figures: list[go.Figure]) -> str:
    """Put a table of metrics and all figures on one page that opens without a network."""
    rows = "".join(
        f"<tr><th>{name}</th><td>{escape(value)}</td></tr>" for name, value in shown_metrics(metrics).items()
    )
    plots = [figure.to_html(full_html=False, include_plotlyjs=index == 0) for index, figure in enumerate(figures)]
    return (
        "<!doctype html><html lang='en'><meta charset='utf-8'><title>SAE report</title><style>"
        f"body{{font:15px/1.5 system-ui,sans-serif;color:{_INK};max-width:960px;margin:2em auto}}"
        "table{border-collapse:collapse}th,td{text-align:left;padding:.15em 1.2em .15em 0;font-weight:normal}"
        f"td{{font-variant-numeric:tabular-nums}}</style><h1>{escape(metrics['sae_type'])}</h1><table>{rows}</table>"
        + "".join(plots)
        + "</html>"
    )


def _styled(figure: go.Figure, title: str) -> go.Figure:
    figure.update_traces(marker_color=_ACCENT)
    return figure.update_layout(
        title=title,
        template="plotly_white",
        showlegend=False,
        bargap=0.05,
        font={"color": _INK},
        margin={"t": 70},
    )

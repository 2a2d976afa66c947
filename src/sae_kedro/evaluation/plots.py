"""Plotly figures of a training run and of a comparison; those of an evaluation are in `figures`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go
from plotly.colors import qualitative
from plotly.subplots import make_subplots

from sae_kedro.evaluation.style import styled

if TYPE_CHECKING:
    import pandas as pd

KINDS = [
    *(("solid", "circle"), ("dash", "square"), ("dot", "diamond")),
    *(("dashdot", "cross"), ("longdash", "triangle-up"), ("longdashdot", "x")),
]
"""Lines and markers of settings in a comparison."""


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
    """Plot FVU against L0, one line per variant and setting; the more latents are dead, the larger the marker.

    A variant has one colour, and a setting one kind of line and marker.

    Args:
        comparison: One row per SAE, with `sae_type`, `top_k`, `l0`, `fvu` and `dead_fraction`; what stands between
            `top_k` and `l0` are settings.
    """
    names = list(comparison.columns)
    keys = ["sae_type", *names[names.index("top_k") + 1 : names.index("l0")]]
    figure = styled(go.Figure(), "Reconstruction against sparsity (larger markers: more dead latents)")
    colours, kinds = cycle(qualitative.D3), cycle(KINDS)
    colour_of: defaultdict[str, str] = defaultdict(lambda: next(colours))
    kind_of: defaultdict[str, tuple[str, str]] = defaultdict(lambda: next(kinds))
    for values, unsorted in comparison.groupby(keys, sort=False, dropna=False):
        sae_type, *setting = map(str, values)
        label = ", ".join([sae_type, *_named(keys[1:], values[1:])])
        rows, colour, (dash, symbol) = unsorted.sort_values("l0"), colour_of[sae_type], kind_of[str(setting)]
        dead = rows["dead_fraction"].tolist()
        labels = [f"k {k}, {share:.1%} dead" for k, share in zip(rows["top_k"], dead, strict=True)]
        points = {"x": rows["l0"].tolist(), "y": rows["fvu"].tolist(), "text": labels}
        marker = {"size": [8 + 32 * share for share in dead], "color": colour, "symbol": symbol}
        line = {"color": colour, "dash": dash}
        figure.add_trace(go.Scatter(**points, name=label, mode="lines+markers", marker=marker, line=line))
    ticks = sorted(set(comparison["top_k"].tolist()))
    figure.update_xaxes(title_text="L0", type="log", tickvals=ticks, ticktext=[str(k) for k in ticks])
    figure.update_yaxes(title_text="FVU", rangemode="tozero")
    return figure.update_layout(showlegend=True)


def _named(keys: list[str], values: Sequence[Any]) -> list[str]:
    """Write settings in words, without those that a variant does not have."""
    pairs = zip(keys, values, strict=True)
    return [f"{key} {f'{v:.10g}' if isinstance(v, float) else v}" for key, v in pairs if v is not None and v == v]

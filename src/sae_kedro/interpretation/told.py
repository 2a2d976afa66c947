"""What a contrast or a prediction found, for people: sentences and plots."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from sae_kedro.evaluation.style import ACCENT, INK, styled
from sae_kedro.interpretation.predict import Prediction

N_SENTENCES, N_ROWS = 10, 20
MEASURES = {"auroc": "AUROC", "r2": "R²"}
MANY_TIMES = 1.5
"""Rates that differ by less are told without a number of times."""


def sentences(table: pd.DataFrame, n: int = N_SENTENCES, what: str = "texts of {}") -> list[str]:
    """Tell the strongest confirmed rows of a contrast, of each group in turn.

    Args:
        table: `Contrast.table`.
        n: Sentences at most.
        what: What members of a group are called.
    """
    rows = in_turn(table[table["confirmed"]], n)
    return [_sentence(row, what.format(row.group)) for row in rows.itertuples()]


def in_turn(table: pd.DataFrame, n: int) -> pd.DataFrame:
    """Return the first `n` rows of a contrast, where every group has its first before any has its second."""
    return table.iloc[np.argsort(table.groupby("group").cumcount().to_numpy(), kind="stable")[:n]]


def summed_up(summary: Mapping[str, Any]) -> str:
    """Say how much was tested, how much of it was found, and how much chance finds.

    Args:
        summary: `Contrast.summary`.
    """
    groups = len(summary["groups"])
    many = f"{groups} groups, each against the rest" if groups > 1 else "one group against the rest"
    told = (
        f"{summary['n_compared']:,} comparisons ({summary['n_tested']:,} latents, {many}): "
        f"{summary['n_q05']:,} have q < .05, {summary['n_confirmed']:,} are confirmed"
    )
    if chance := summary["n_q05_shuffled"]:
        few = f"at most {max(chance):,} have" if any(chance) else "none has"
        told += f"; with groups shuffled {len(chance)} times, {few} q < .05"
    return told


def _sentence(row: Any, who: str) -> str:
    low, high = sorted((row.rate_a, row.rate_b))
    name = f"'{row.label}'"
    if high == 0 or high < MANY_TIMES * low:
        told = f"{who} fire {name} a little {'more' if row.z > 0 else 'less'}"
    elif low == 0:
        told = f"{who} alone fire {name}" if row.rate_a else f"{who} never fire {name}, and others do"
    else:
        told = f"{who} fire {name} {_number(row.rate_a / row.rate_b)} times as often"
    warning = f"; beware: {row.warning}" if row.warning else ""
    return f"{told} ({_percent(row.rate_a)} against {_percent(row.rate_b)}), {_small('q', row.q)}{warning}"


def forest(table: pd.DataFrame, n: int = N_ROWS) -> go.Figure:
    """Plot odds ratios with their intervals, a line for each of `n` rows; what is not confirmed is hollow."""
    rows = in_turn(table, n).iloc[::-1]
    several = rows["group"].nunique() > 1
    names = [f"{row.group}: {row.label}" if several else str(row.label) for row in rows.itertuples()]
    hover = [
        f"{_percent(row.rate_a)} against {_percent(row.rate_b)}, {_small('q', row.q)}" for row in rows.itertuples()
    ]
    ratio = rows["odds_ratio"]
    bars = {"array": (rows["or_hi"] - ratio).tolist(), "arrayminus": (ratio - rows["or_lo"]).tolist()}
    symbols = ["circle" if confirmed else "circle-open" for confirmed in rows["confirmed"]]
    points = go.Scatter(
        x=ratio.tolist(),
        y=list(range(len(rows))),
        text=hover,
        mode="markers",
        marker={"color": ACCENT, "size": 9, "symbol": symbols},
        error_x={"type": "data", "symmetric": False, "color": ACCENT, "thickness": 1.5, "width": 0, **bars},
    )
    plot = go.Figure(points)
    plot.add_vline(x=1, line_dash="dot", line_color=INK)
    plot.update_xaxes(title_text="odds ratio, 95 % interval", type="log", dtick=1)
    plot.update_yaxes(tickvals=list(range(len(rows))), ticktext=names, ticklabelstandoff=8)
    groups = table["group"].iloc[0] if len(table) and not several else "each group"
    title = f"What sets {groups} apart from the rest"
    return styled(plot, title).update_layout(height=140 + 26 * len(rows))


def prediction_sentences(found: Prediction, target: str) -> list[str]:
    """Tell what a prediction gains, what it misses, and which latents it needs, the largest weight of a group first.

    Args:
        found: What `predict` gives.
        target: What is predicted.
    """
    measure = MEASURES[found.summary["measure"]]
    alone, features, *others = found.scores.itertuples()
    many = found.summary["n_features"]
    told = [
        f"{target}, on unseen texts: {many} feature{'s' * (many != 1)} and length reach {measure} {features.score:.3f} "
        f"({features.low:.3f} to {features.high:.3f}), length and controls alone {alone.score:.3f}: a gain of "
        f"{features.gain:.3f} ({features.gain_lo:.3f} to {features.gain_hi:.3f})",
        ", ".join(f"{row.inputs.removeprefix('and ')} {row.score:.3f}" for row in others)
        + f": the features miss {found.summary['missed']:.3f}",
    ]
    for group, rows in found.features.groupby("group", sort=False):
        named = [f"{row.label} ({row.weight:+.2f})" for row in rows.itertuples()]
        told.append(f"{group}: {'; '.join(named)}")
    if not many:
        told.append("no feature is chosen by enough half samples; chance would do as well")
    return told


def gains(found: Prediction, target: str) -> go.Figure:
    """Plot the score of each kind of inputs with its interval.

    Args:
        found: What `predict` gives.
        target: What is predicted.
    """
    rows = found.scores.iloc[::-1]
    bars = {"array": (rows["high"] - rows["score"]).tolist(), "arrayminus": (rows["score"] - rows["low"]).tolist()}
    points = go.Scatter(
        x=rows["score"].tolist(),
        y=rows["inputs"].tolist(),
        mode="markers",
        marker={"color": ACCENT, "size": 9},
        error_x={"type": "data", "symmetric": False, "color": ACCENT, "thickness": 1.5, "width": 0, **bars},
    )
    plot = go.Figure(points)
    plot.update_xaxes(title_text=f"{MEASURES[found.summary['measure']]} on unseen texts, 95 % interval")
    plot.update_yaxes(ticklabelstandoff=8)
    return styled(plot, f"What predicts {target}").update_layout(height=140 + 40 * len(rows))


def _number(ratio: float) -> str:
    return f"{ratio:.0f}" if ratio >= 10 else f"{ratio:.1f}" if ratio > 1 else f"{ratio:.2f}"


def _percent(share: float) -> str:
    return f"{100 * share:.{0 if share >= 0.1 or share == 0 else 1}f} %"


def _small(name: str, value: float) -> str:
    return f"{name} < .001" if value < 0.001 else f"{name} = {value:.3f}".replace("= 0.", "= .")

"""What a contrast found, for people: sentences and a forest plot."""

from __future__ import annotations

from typing import Any

import pandas as pd
import plotly.graph_objects as go

from sae_kedro.evaluation.style import ACCENT, INK, styled

N_SENTENCES, N_ROWS = 10, 20
MANY_TIMES = 1.5
"""Rates that differ by less are told without a number of times."""


def sentences(table: pd.DataFrame, n: int = N_SENTENCES, what: str = "texts of {}") -> list[str]:
    """Tell the strongest confirmed rows of a contrast.

    Args:
        table: `Contrast.table`.
        n: Sentences at most.
        what: What members of a group are called.
    """
    return [_sentence(row, what.format(row.group)) for row in table[table["confirmed"]].head(n).itertuples()]


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
    """Plot odds ratios with their intervals, a line for each of the first `n` rows; what is not confirmed is hollow."""
    rows = table.head(n).iloc[::-1]
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
    plot.update_yaxes(tickvals=list(range(len(rows))), ticktext=names)
    groups = table["group"].iloc[0] if len(table) and not several else "each group"
    title = f"What sets {groups} apart from the rest"
    return styled(plot, title).update_layout(height=140 + 26 * len(rows))


def _number(ratio: float) -> str:
    return f"{ratio:.0f}" if ratio >= 10 else f"{ratio:.1f}" if ratio > 1 else f"{ratio:.2f}"


def _percent(share: float) -> str:
    return f"{100 * share:.{0 if share >= 0.1 or share == 0 else 1}f} %"


def _small(name: str, value: float) -> str:
    return f"{name} < .001" if value < 0.001 else f"{name} = {value:.3f}".replace("= 0.", "= .")

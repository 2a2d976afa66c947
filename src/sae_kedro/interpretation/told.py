"""What a contrast found, for people: sentences and a forest plot."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from sae_kedro.evaluation.style import ACCENT, INK, styled

N_SENTENCES, N_ROWS = 10, 20
MANY_TIMES = 1.5
"""From this ratio of rates on a sentence counts times; below, it names the two shares."""


def sentences(table: pd.DataFrame, n: int = N_SENTENCES, what: str = "texts of {}") -> list[str]:
    """Tell the strongest confirmed rows of a contrast, those that fire more in the group first for each group.

    Args:
        table: `Contrast.table`.
        n: Sentences at most.
        what: What members of a group are called.
    """
    return [_sentence(row, what.format(row.group)) for row in table[table["confirmed"]].head(n).itertuples()]


def _sentence(row: object, who: str) -> str:
    a, b = row.rate_a, row.rate_b  # type: ignore[attr-defined]
    shares = f"{_percent(a)} against {_percent(b)}"
    more, (low, high) = a >= b, sorted((a, b))
    if high == 0 or high < MANY_TIMES * low:
        how = f"{'a little more' if more else 'a little less'} often, or more strongly ({shares})"
    elif low == 0:
        how = f"and the others never do ({shares})" if more else f"never, and the others do ({shares})"
    else:
        how = f"{high / low:.{0 if high / low >= 10 else 1}f} times {'as often' if more else 'less often'} ({shares})"
    warning = f"; beware: {row.warning}" if row.warning else ""  # type: ignore[attr-defined]
    return f"{who} fire '{row.label}' {how}, {_small('q', row.q)}{warning}"  # type: ignore[attr-defined]


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


def _percent(share: float) -> str:
    return f"{100 * share:.{0 if share >= 0.1 or share == 0 else 1}f} %"


def _small(name: str, value: float) -> str:
    return f"{name} < .001" if value < 0.001 else f"{name} = {value:.3f}".replace("= 0.", "= .")

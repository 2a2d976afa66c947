"""A run's metrics as a page: of Markdown, or of HTML with all plots."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from sae_kedro.evaluation.representations import SPACES
from sae_kedro.evaluation.style import INK

if TYPE_CHECKING:
    import plotly.graph_objects as go

_CI = "_ci95"


def report_markdown(metrics: dict[str, Any]) -> str:
    """Write the metrics of `metrics.json` as two tables: what was measured on the three representations, and the rest.

    Values carry their 95 % interval where there is one.
    """
    values = shown_metrics(metrics)
    stems = dict.fromkeys(stem for key in values for space in SPACES if (stem := _stem(key, space)))
    single = {key: value for key, value in values.items() if not any(_stem(key, space) for space in SPACES)}
    lines = [f"# {metrics['sae_type']}", "", "Brackets hold 95 % bootstrap intervals over texts.", ""]
    if stems:
        lines += _table("measure", *SPACES)
        lines += [_row(stem, *(values.get(f"{stem}_{space}", "–") for space in SPACES)) for stem in stems] + [""]
    lines += _table("metric", "value") + [_row(key, value) for key, value in single.items()]
    return "\n".join(lines) + "\n"


def report_html(metrics: dict[str, Any], figures: list[go.Figure]) -> str:
    """Put a table of metrics and all figures on one page that opens without a network."""
    rows = "".join(
        f"<tr><th>{name}</th><td>{escape(value)}</td></tr>" for name, value in shown_metrics(metrics).items()
    )
    plots = [figure.to_html(full_html=False, include_plotlyjs=index == 0) for index, figure in enumerate(figures)]
    return (
        "<!doctype html><html lang='en'><meta charset='utf-8'><title>SAE report</title><style>"
        f"body{{font:15px/1.5 system-ui,sans-serif;color:{INK};max-width:960px;margin:2em auto}}"
        "table{border-collapse:collapse}th,td{text-align:left;padding:.15em 1.2em .15em 0;font-weight:normal}"
        f"td{{font-variant-numeric:tabular-nums}}</style><h1>{escape(metrics['sae_type'])}</h1><table>{rows}</table>"
        + "".join(plots)
        + "</html>"
    )


def shown_metrics(metrics: dict[str, Any]) -> dict[str, str]:
    """Return the metrics as they are shown, each with its interval behind it."""
    return {
        key: _shown(value) + (f" [{_shown(interval[0])}, {_shown(interval[1])}]" if interval else "")
        for key, value in metrics.items()
        if not key.endswith(_CI)
        for interval in [metrics.get(key + _CI)]
    }


def _stem(key: str, space: str) -> str:
    return key.removesuffix(f"_{space}") if key.endswith(f"_{space}") else ""


def _shown(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


def _table(*columns: str) -> list[str]:
    return [_row(*columns), "|" + "---|" * len(columns)]


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

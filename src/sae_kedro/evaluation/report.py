"""A run's metrics as a page: of Markdown, or of HTML with all plots."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from sae_kedro.evaluation.representations import SPACES
from sae_kedro.evaluation.style import INK

if TYPE_CHECKING:
    import plotly.graph_objects as go

HEADLINE = ("fvu", "cosine", "l0", "dead_fraction", "similarity_kept_reconstruction", "neighbours_kept_codes")
"""Metrics that stand above the plots of a report."""
_CI = "_ci95"
_STYLE = (
    f"body{{font:15px/1.5 system-ui,sans-serif;color:{INK};max-width:1080px;margin:2em auto;padding:0 1em}}"
    "h1{margin-bottom:0}h1+p{margin-top:0;color:#64748b}"
    ".cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:12px}"
    ".cards div{border:1px solid #e2e8f0;border-radius:8px;padding:10px 14px;font-size:13px;overflow-wrap:anywhere}"
    ".cards b{display:block;font-size:26px;line-height:1.3}"
    ".plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(320px,1fr));gap:12px;margin-top:12px}"
    ".plots>div{min-width:0}"
    "table{columns:2;border-collapse:collapse;display:block}tr{display:table;width:100%;break-inside:avoid}"
    "th,td{text-align:left;font-weight:normal;padding:.1em 0;border-bottom:1px solid #f1f5f9}th{width:55%}"
    "td{font-variant-numeric:tabular-nums}"
)


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
    """Put the main metrics, all figures and a table of all metrics on one page that opens without a network."""
    values = {name: escape(value) for name, value in shown_metrics(metrics).items()}
    cards = [
        f"<div><b>{_brief(metrics[name])}</b>{name.replace('_', ' ')}</div>" for name in HEADLINE if name in metrics
    ]
    rows = [f"<tr><th>{name}</th><td>{value}</td></tr>" for name, value in values.items()]
    plots = [
        figure.to_html(
            full_html=False,
            include_plotlyjs=index == 0,
            default_height=310,
            config={"displayModeBar": False, "responsive": True},
        )
        for index, figure in enumerate(figures)
    ]
    title = values.get("name", values["sae_type"])
    about = " · ".join(values[name] for name in ("dataset_path", "model_name", "split") if name in values)
    return (
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{title}</title><style>{_STYLE}</style>"
        f"<h1>{title}</h1><p>{about}</p><section class='cards'>{''.join(cards)}</section>"
        f"<section class='plots'>{''.join(plots)}</section><h2>All metrics</h2>"
        f"<p>Brackets hold 95 % bootstrap intervals over texts.</p><table>{''.join(rows)}</table>"
        "<script>dispatchEvent(new Event('resize'))</script></html>"  # plots that were drawn before the grid was full
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


def _brief(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else _shown(value)


def _table(*columns: str) -> list[str]:
    return [_row(*columns), "|" + "---|" * len(columns)]


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

"""A run's metrics as a page: of Markdown, or of HTML with a scorecard and all plots."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import plotly.graph_objects as go
from jinja2 import Environment, PackageLoader
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from sae_kedro._version import __version__
from sae_kedro.evaluation.meanings import SPLITS, Meaning, meanings
from sae_kedro.evaluation.representations import SPACES

OTHERS = "Others"
"""Group of metrics without a meaning."""
_CI = "_ci95"
_SPACES = dict(zip(SPACES, ("embeddings", "reconstructions", "codes"), strict=True))
_PAGE = {"title": None, "autosize": True, "dragmode": False, "font": {"size": 12}}
_HEIGHT = 300


class Value(NamedTuple):
    """A number of a metric, ready to be read."""

    key: str
    """Its key in `metrics.json`."""
    label: str
    """What it is a value of: `codes`."""
    number: Any
    interval: list[float] | None
    unit: str = ""

    def text(self, digits: int = 4) -> str:
        """The number with its unit."""
        shown = _shown(self.number, self.unit, digits)
        return f"{shown} {self.unit}" if self.unit and self.number is not None else shown

    def bounds(self, digits: int = 4) -> list[str]:
        """Both ends of its 95 % interval, without the unit; none if there is no interval."""
        return [_shown(bound, self.unit, digits) for bound in self.interval or ()]

    def brackets(self) -> str:
        """The number, its interval behind it."""
        return self.text() + (f" [{', '.join(self.bounds())}]" if self.interval else "")


@dataclass(frozen=True)
class Row:
    """A metric: one value, or one for each representation that it was measured on."""

    name: str
    meaning: Meaning | None
    values: tuple[Value, ...]
    spaces: bool
    """Whether the values are those of representations."""


class Bar(NamedTuple):
    """A value on the scorecard, drawn; lengths are in percent of a full bar."""

    label: str
    value: Value
    own: bool
    """Whether the SAE had a part in it."""
    width: float
    spread: tuple[float, float] | None
    """Where its interval starts, and how long it is."""


def table(metrics: dict[str, Any]) -> dict[str, list[Row]]:
    """Sort the metrics of `metrics.json` into groups and put together what belongs together; nothing is left out."""
    found: dict[str, list[tuple[str, str]]] = {}
    for key in metrics:
        if not key.endswith(_CI):
            space = next((space for space in SPACES if key.endswith(f"_{space}")), "")
            found.setdefault(key.removesuffix(f"_{space}") if space else key, []).append((key, space))
    known = meanings()
    groups = {name: [key for key in group if key in found] for name, group in known.items()}
    groups[OTHERS] = [name for name in found if not any(name in group for group in known.values())]
    return {
        group: [_row(name, known.get(group, {}).get(name), found[name], metrics) for name in names]
        for group, names in groups.items()
        if names
    }


def report_markdown(metrics: dict[str, Any]) -> str:
    """Write the metrics of `metrics.json` as two tables: what was measured on the three representations, and the rest.

    Values carry their 95 % interval where there is one.
    """
    rows = [row for group in table(metrics).values() for row in group]
    compared, single = [row for row in rows if row.spaces], [row for row in rows if not row.spaces]
    lines = [f"# {metrics['sae_type']}", "", "Brackets hold 95 % bootstrap intervals over texts.", ""]
    if compared:
        lines += _header("measure", *SPACES, "meaning")
        for row in compared:
            shown = {value.label: value.brackets() for value in row.values}
            lines.append(_line(row.name, *(shown.get(label, "–") for label in _SPACES.values()), _explained(row)))
        lines.append("")
    lines += _header("metric", "value", "meaning")
    lines += [_line(row.name, row.values[0].brackets(), _explained(row)) for row in single]
    return "\n".join(lines) + "\n"


def report_html(metrics: dict[str, Any], figures: Sequence[go.Figure]) -> str:
    """Put a scorecard, all figures and a table of all metrics on one page that opens without a network.

    It says how high each figure is before it is drawn, so nothing moves; colours follow the reader's light or dark.

    Args:
        metrics: Those of `metrics.json`.
        figures: One that has nothing to show is left out.
    """
    groups = table(metrics)
    page = Environment(loader=PackageLoader(__package__, "."), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return page.get_template("report.html.jinja").render(
        metrics=metrics,
        shown={row.name: row.values[0].text(3) for row in groups.get("The run", ())},
        split=SPLITS.get(str(metrics.get("split")), "texts"),
        scorecard=scorecard(groups),
        groups=groups,
        figures=list(_drawn(figures)),
        plotly=Markup(get_plotlyjs()),
        version=__version__,
    )


def scorecard(groups: dict[str, list[Row]]) -> dict[str, list[tuple[Row, list[Bar]]]]:
    """Return the metrics that a report starts with, and those on tasks, each with the bars on its card.

    Args:
        groups: From `table`.
    """
    rows = {row.name: row for group in groups.values() for row in group}
    first = [row for row in rows.values() if row.meaning and row.meaning.headline]
    tasks = [row for row in first if row in groups.get("Tasks", ())]
    scores = {"": [row for row in first if row not in tasks], "On tasks": tasks}
    return {title: [(row, _bars(row, rows)) for row in chosen] for title, chosen in scores.items() if chosen}


def _row(name: str, meaning: Meaning | None, keys: list[tuple[str, str]], metrics: dict[str, Any]) -> Row:
    unit = meaning.unit if meaning else ""
    values = (Value(key, _SPACES.get(space, ""), metrics[key], metrics.get(key + _CI), unit) for key, space in keys)
    return Row(name, meaning, tuple(values), any(space for _, space in keys))


def _bars(row: Row, rows: dict[str, Row]) -> list[Bar]:
    """Return what is compared on a card, on a scale from 0 to 1 or more; nothing if there is but one number."""
    assert row.meaning is not None
    own = [(value.label or "this SAE", value, value.label != _SPACES["original"]) for value in row.values]
    marks = [rows[name] for name in row.meaning.beside if name in rows]
    shown = own + [(mark.meaning.title, mark.values[0], False) for mark in marks if mark.meaning]
    shown = [(label, value, mine) for label, value, mine in shown if value.number is not None]
    full = max([1.0, *(value.number for _, value, _ in shown)])
    return [_bar(label, value, mine, full) for label, value, mine in shown] if len(shown) > 1 else []


def _bar(label: str, value: Value, own: bool, full: float) -> Bar:
    width, *ends = (round(100 * min(max(x / full, 0), 1), 2) for x in (value.number, *(value.interval or ())))
    return Bar(label, value, own, width, (ends[0], round(ends[1] - ends[0], 2)) if ends else None)


def _drawn(figures: Sequence[go.Figure]) -> Iterator[tuple[str, int, Markup]]:
    """Yield the title of each figure, its height and its JSON, in which plotly escapes what would end a script."""
    for figure in figures:
        if figure.data:
            title, height = figure.layout.title.text, figure.layout.height or _HEIGHT
            margin = {"t": 26 if figure.layout.annotations else 8, "r": 8, "b": 8, "l": 8}
            yield title, height, Markup(go.Figure(figure).update_layout(_PAGE, height=height, margin=margin).to_json())


def _shown(value: object, unit: str, digits: int) -> str:
    if not isinstance(value, float):
        return "–" if value is None else f"{value:,}" if isinstance(value, int) else str(value)
    whole = value == 0 or (unit == "" and value.is_integer())
    value *= 100 if unit == "%" else 1
    return f"{value:,.0f}" if whole or abs(value) >= 1000 else f"{value:#.{digits}g}".rstrip(".")


def _explained(row: Row) -> str:
    return row.meaning.explained if row.meaning else ""


def _header(*columns: str) -> list[str]:
    return [_line(*columns), "|" + "---|" * len(columns)]


def _line(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

"""What the documentation takes from the code: tables of keys, metrics, commands, variants; the house; formulas.

A line `{{ name }}` in a page is replaced by what the function of that name returns, `{{ file path }}` by a file of the
project. Formulas in TeX become MathML, which browsers show by themselves.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "src"))

_PLACE = re.compile(r"^\{\{ (\w+)(?: (\S+))? \}\}$", re.MULTILINE)
_CODE = re.compile(r"(^```.*?^```$|`[^`\n]+`)", re.MULTILINE | re.DOTALL)
_BLOCK, _INLINE = re.compile(r"^\$\$\n(.+?)\n\$\$$", re.MULTILINE | re.DOTALL), re.compile(r"\$([^$\n]+)\$")
_WIDTH, _FLOOR, _GAP = 760, 46, 8


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Fill in what a page takes from the code (called by MkDocs)."""
    markdown = _PLACE.sub(lambda place: globals()[place[1]](*filter(None, [place[2]])), markdown)
    parts = _CODE.split(markdown)  # every second one is code, which stays as it is
    return "".join(part if index % 2 else _with_formulas(part) for index, part in enumerate(parts))


def _with_formulas(text: str) -> str:
    text = _BLOCK.sub(lambda found: f'<div class="formula">{convert(found[1], display="block")}</div>', text)
    return _INLINE.sub(lambda found: f"<span>{convert(found[1])}</span>", text)


def file(path: str) -> str:
    """Return a file of the project, its links turned so that they lead to pages of the site where there is one."""
    pages = {"benchmarks/RECIPE.md": "../understand/recipe.md", "CONTRIBUTING.md": "contributing.md"}
    text = (ROOT / path).read_text()
    return re.sub(r"\]\(([^)#:]+)\)", lambda link: f"]({pages.get(link[1], link[1])})", text)


def keys() -> str:
    """Return a table for each pipeline's keys, and one for the options of each variant."""
    from sae_kedro.keys import TABLES
    from sae_kedro.sae.registry import BUILT_IN, sae_classes

    titles = {"encode": "Model and corpus", "train": "SAE and training", "evaluate": "Evaluation"}
    titles |= {"compare": "Comparison"}
    parts = []
    for name, table in sorted(TABLES.items(), key=lambda item: list(titles).index(item[0]) if item[0] in titles else 9):
        parts += [f"## {titles.get(name, name.capitalize())}", "", *_key_rows(table.model_fields), ""]
    parts += ["## Options of single variants", ""]
    for name in BUILT_IN:
        if fields := sae_classes[name].Options.model_fields:
            parts += [f"### {name}", "", *_key_rows(fields), ""]
    return "\n".join(parts)


def _key_rows(fields: Any) -> Iterator[str]:
    import json

    from sae_kedro.validation import allowed_values

    yield "| key | default | allowed | meaning |"
    yield "|---|---|---|---|"
    for key, field in fields.items():
        cells = f"`{key}`", f"`{json.dumps(field.default)}`", allowed_values(field), field.description
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def metrics() -> str:
    """Return a table for each group of metrics: its key, what it is called, what it means."""
    from sae_kedro.evaluation.meanings import meanings

    parts = []
    for group, table in meanings().items():
        parts += [f"## {group}", "", "| key | name | meaning |", "|---|---|---|"]
        for key, meaning in table.items():
            parts.append(f"| `{key}` | {meaning.title} | {meaning.explained} |")
        parts.append("")
    return "\n".join(parts)


def commands() -> str:
    """Return the help of every command of `kedro sae`, as a terminal shows it."""
    import click
    from kedro.framework.cli.utils import CONTEXT_SETTINGS

    from sae_kedro.cli import sae

    parts: list[str] = []

    def tell(command: click.Command, path: str) -> None:
        context = click.Context(command, info_name=path, **CONTEXT_SETTINGS)
        parts.extend([f"## `{path}`", "", "```text", command.get_help(context), "```", ""])
        for name, child in sorted(getattr(command, "commands", {}).items()):
            tell(child, f"{path} {name}")

    os.environ["COLUMNS"] = "100"
    tell(sae, "kedro sae")
    return "\n".join(parts)


def variants() -> str:
    """Return a table of the built-in variants."""
    from sae_kedro.sae.registry import BUILT_IN, sae_classes

    rows = ["| `sae_type` | what it does | source |", "|---|---|---|"]
    for name in BUILT_IN:
        cls = sae_classes[name]
        rows.append(f"| `{name}` | {cls.summary} | [arXiv {cls.paper}](https://arxiv.org/abs/{cls.paper}) |")
    return "\n".join(rows)


def house() -> str:
    """Draw the layers that import-linter holds: a floor each, a box for every module or package."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    floors = [re.split(r"\s*\|\s*", floor) for floor in next(c for c in contracts if c["type"] == "layers")["layers"]]
    shapes = []
    for level, rooms in enumerate(floors):
        width = (_WIDTH - _GAP * (len(rooms) + 1)) / len(rooms)
        top = _GAP + level * (_FLOOR + _GAP)
        for index, room in enumerate(rooms):
            left = _GAP + index * (width + _GAP)
            shapes.append(
                f'<rect x="{left:.0f}" y="{top}" width="{width:.0f}" height="{_FLOOR}" rx="6"/>'
                f'<text x="{left + width / 2:.0f}" y="{top + _FLOOR / 2 + 5:.0f}">{escape(room)}</text>'
            )
    height = _GAP + len(floors) * (_FLOOR + _GAP)
    label = "The layers of sae_kedro, top to bottom: " + "; ".join(", ".join(rooms) for rooms in floors)
    drawing = f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(label)}">{"".join(shapes)}</svg>'
    return f'<div class="house">{drawing}</div>'

"""What a run prints at its end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click


def echo(data: Any, how: Any) -> None:
    """Print a result as the catalog says.

    Args:
        data: A mapping, of which a table is printed, or something else, which is printed as it is.
        how: For a mapping, `title`, in which `{name}` stands for the entry `name`, and `rows`, the entries to show;
            without them, all entries.
    """
    if isinstance(data, Mapping):
        chosen = how if isinstance(how, Mapping) else {}
        click.echo(_table(data, chosen.get("title", ""), chosen.get("rows", list(data))), nl=False)
    else:
        click.echo(data, nl=not str(data).endswith("\n"))


def _table(data: Mapping[str, Any], title: str, rows: list[str]) -> str:
    from rich.console import Console
    from rich.table import Table

    table = Table("metric", "value")
    for name in rows:
        table.add_row(name, f"{data[name]:.4f}" if isinstance(data[name], float) else str(data[name]))
    console = Console()
    with console.capture() as printed:
        if title:
            console.print(title.format_map(data), highlight=False, soft_wrap=True, markup=False)
        console.print(table)
    return printed.get()

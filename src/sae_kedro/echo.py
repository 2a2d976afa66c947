"""What a run prints at its end."""

from __future__ import annotations

from typing import Any

import click


def echo(data: Any, how: Any) -> None:
    """Print a result as the catalog says.

    Args:
        data: A text, which is printed as it is, or a mapping, of which a table is printed.
        how: For a mapping, `title`, in which `{name}` stands for the entry `name`, and `rows`, the entries to show.
    """
    click.echo(data if isinstance(data, str) else _table(data, **how), nl=False)


def _table(data: dict[str, Any], title: str, rows: list[str]) -> str:
    from rich.console import Console
    from rich.table import Table

    table = Table("metric", "value")
    for name in rows:
        table.add_row(name, f"{data[name]:.4f}" if isinstance(data[name], float) else str(data[name]))
    console = Console()
    with console.capture() as printed:
        console.print(title.format_map(data), highlight=False, soft_wrap=True, markup=False)
        console.print(table)
    return printed.get()

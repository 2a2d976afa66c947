"""What a run tells while it runs, and what it prints at its end."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import click
from kedro.framework.hooks import hook_impl

logger = logging.getLogger(__name__)


class ShowProgress:
    """Names each step as it starts, and prints at the end what the catalog marks to be echoed."""

    @hook_impl
    def before_pipeline_run(self, pipeline: Any, catalog: Any) -> None:
        """Count the steps."""
        self._done, self._total, self._catalog = 0, len(pipeline.nodes), catalog
        self._results: list[tuple[Any, Any]] = []

    @hook_impl
    def before_node_run(self, node: Any) -> None:
        """Name the step."""
        self._done += 1
        logger.info("[%d/%d] %s", self._done, self._total, node.name.rpartition(".")[2])

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any) -> None:
        """Remember the results."""
        metadata = getattr(self._catalog.get(dataset_name), "metadata", None)
        if isinstance(metadata, dict) and metadata.get("echo"):
            self._results.append((data, metadata["echo"]))

    @hook_impl
    def after_pipeline_run(self) -> None:
        """Print them."""
        for data, how in self._results:
            _echo(data, how)


def _echo(data: Any, how: Any) -> None:
    """Print a result as the catalog says.

    Args:
        data: A mapping, of which a table is printed, or something else, which is printed as it is.
        how: For a mapping, `title`, in which `{name}` stands for the entry `name`, and `rows`, the entries to show;
            without them, all entries. A text is printed in place of the result.
    """
    if isinstance(how, str):
        click.echo(how)
    elif isinstance(data, Mapping):
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

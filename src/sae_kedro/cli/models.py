"""`kedro sae models`: what is trained. Torch does not load."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from sae_kedro.cli import places

COLUMNS = ("name", "variant", "latents", "k", "FVU", "corpus", "trained")


@click.command()
@places.data_root_option
@click.option("--json", "as_json", is_flag=True, help="Print a list of objects.")
def models(data_root: str | None, as_json: bool) -> None:
    """List what is trained: size, FVU, corpus, date."""
    root = places.data_root(data_root)
    rows = [_row(root, folder) for folder in sorted((root / "06_models").glob("*/")) if (folder / "cfg.json").is_file()]
    if as_json:
        click.echo(json.dumps([dict(zip(COLUMNS, row, strict=True)) for row in rows], indent=2))
        return
    if not rows:
        click.echo(f"there is no trained SAE in {root / '06_models'}")
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(*COLUMNS)
    for row in rows:
        table.add_row(*("–" if value is None else str(value) for value in row))
    Console().print(table)


def _row(root: Path, folder: Path) -> tuple[Any, ...]:
    """Describe the SAE of a folder, as far as its files can be read."""
    cfg, metrics = _read(folder / "cfg.json"), _read(root / "08_reporting" / folder.name / "metrics.json")
    fvu = metrics.get("fvu")
    when = datetime.fromtimestamp((folder / "cfg.json").stat().st_mtime)
    keys = ("sae_type", "dict_size", "top_k")
    about = (cfg.get(key) for key in keys)
    return (folder.name, *about, fvu and round(fvu, 4), cfg.get("dataset_path"), f"{when:%Y-%m-%d %H:%M}")


def _read(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


COMMANDS = [models]

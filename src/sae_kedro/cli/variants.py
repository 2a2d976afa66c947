"""`kedro sae list`, `describe` and `new`: variants. Torch loads only where a class is needed."""

from __future__ import annotations

import json
import re
from pathlib import Path

import click

from sae_kedro.errors import InputError


@click.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="Print a list of objects.")
def list_command(as_json: bool) -> None:
    """List variants and who provides them."""
    from sae_kedro.sae.inspection import list_variants

    variants = list_variants()
    if as_json:
        click.echo(json.dumps([variant._asdict() for variant in variants], indent=2))
        return
    from rich.console import Console
    from rich.table import Column, Table

    table = Table(*(Column(name, no_wrap=True) for name in ("name", "provider", "version")))
    table.add_column("status", overflow="fold")
    table.add_column("summary")
    for variant in variants:
        table.add_row(*variant)
    Console().print(table)


@click.command()
@click.argument("name")
def describe(name: str) -> None:
    """Show a variant's formula, paper and options."""
    from sae_kedro.sae.registry import sae_classes
    from sae_kedro.validation import allowed_values

    cls = sae_classes[name]
    click.echo(f"{name}: {cls.summary}\n")
    click.echo(f"formula   {cls.formula}")
    click.echo(f"paper     https://arxiv.org/abs/{cls.paper}" if re.fullmatch(r"\d{4}\.\d+", cls.paper) else cls.paper)
    click.echo(f"provider  {sae_classes.provider(name)}")
    click.echo(f"class     {cls.__module__}.{cls.__qualname__}")
    click.echo("\noptions   none of its own" if not cls.Options.model_fields else "\noptions")
    for key, field in cls.Options.model_fields.items():
        default = "null" if field.default is None else field.default
        click.echo(f"  {key}: {allowed_values(field)}; default {default}\n      {field.description}")


@click.command()
@click.argument("name")
@click.option("--output", type=click.Path(file_okay=False), default=".", help="Folder to create the plugin in.")
def new(name: str, output: str) -> None:
    """Create a plugin in sae-kedro-NAME/.

    It can be installed, trains and passes its own tests at once.
    """
    from sae_kedro.sae.registry import sae_classes

    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        raise InputError(f"NAME={name!r} must be lower-case words joined by hyphens, such as my-variant")
    if name in sae_classes:
        raise InputError(f"NAME={name!r} is taken by {sae_classes.providers()[name][0]}; choose another")
    folder = Path(output) / f"sae-kedro-{name}"
    if folder.exists():
        raise InputError(f"{folder} exists already; nothing was written")
    words = {"{name}": name, "{module}": name.replace("-", "_"), "{Class}": name.title().replace("-", "")}
    template = Path(__file__).parents[1] / "template"
    for source in sorted(template.rglob("*.txt")):
        path, text = str(source.relative_to(template).with_suffix("")), source.read_text()
        for mark, word in words.items():
            path, text = path.replace(mark, word), text.replace(mark, word)
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    click.echo(f"Created {folder}. Next: pip install {folder}, then kedro run --params sae_type={name}")


COMMANDS = [list_command, describe, new]

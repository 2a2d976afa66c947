"""`sae-kedro`, for a folder that is no project: a command for every pipeline, with an option for every key.

`sae-kedro train texts.csv --text-column body`. `kedro run` is `sae-kedro run`, and `kedro sae models` is `sae-kedro
models`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import click
from kedro.framework.cli.utils import CONTEXT_SETTINGS
from kedro.framework.project import pipelines
from pydantic.fields import FieldInfo

from sae_kedro._version import __version__
from sae_kedro.cli import run, sae
from sae_kedro.errors import nearest
from sae_kedro.keys import TABLES, ExperimentConfig
from sae_kedro.validation import takes


class _Commands(click.Group):
    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take options without a command for those of `run`."""
        if args and args[0].startswith("-") and args[0] not in ("-h", "--help", "--version"):
            args = ["run", *args]
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command.

        Raises:
            UsageError: There is none; names the nearest.
        """
        known = self.list_commands(ctx)
        if args[0] not in known:
            raise click.UsageError(
                f"there is no command {args[0]!r}; choose one of {', '.join(known)}{nearest(args[0], known)}"
            )
        return super().resolve_command(ctx, args)


class _Pipeline(click.Command):
    """A pipeline; whatever key is no option of it is one of a variant.

    Args:
        name: Its name.
    """

    def __init__(self, name: str) -> None:
        needed = "sae" not in pipelines[name].inputs()  # of a trained SAE the corpus is known
        dataset = click.Argument(["dataset_path"], required=needed, metavar="DATASET" if needed else "[DATASET]")
        own_first = dict.fromkeys([name, *pipelines, *TABLES])
        tables = [table for table in own_first if table in TABLES]
        keys = {key: field for table in tables for key, field in TABLES[table].model_fields.items()}
        options = [_option(key, field) for key, field in keys.items() if key != dataset.name]
        super().__init__(
            name,
            params=[dataset, *options],
            callback=self._run,
            help=f"Run the pipeline {name} on DATASET: a file, folder, glob or URL, a Hub dataset, or python-docs.\n\n"
            "Options are the keys of the configuration, and --KEY VALUE for those of a variant.",
            short_help=f"Run the pipeline {name}.",
            context_settings=CONTEXT_SETTINGS
            | {"ignore_unknown_options": True, "allow_extra_args": True, "max_content_width": 120},
        )

    def _run(self, **given: Any) -> None:
        context = click.get_current_context()
        params = {key: _value(key, value) for key, value in given.items() if value is not None}
        params |= {key: _value(key, value) for key, value in _pairs(context.args)}
        context.invoke(run, pipelines=[self.name], params=params)


def commands() -> click.Group:
    """Return all commands of `sae-kedro`."""
    group = _Commands(
        help="Train and evaluate sparse autoencoders on sentence embeddings.", context_settings=CONTEXT_SETTINGS
    )
    click.version_option(__version__, message="%(version)s")(group)
    for name in pipelines:
        if not name.startswith("_"):
            group.add_command(_Pipeline(name))
    for command in (run, *sae.commands.values()):
        group.add_command(command)
    return group


def _option(key: str, field: FieldInfo) -> click.Option:
    name = "--" + key.replace("_", "-")
    if takes(field, bool):
        return click.Option([f"{name}/--no-{name[2:]}"], default=None, help=field.description)
    shown = "" if field.default is None else f" [default: {field.default}]"
    return click.Option([name], metavar="VALUE", help=f"{field.description}{shown}")


def _pairs(arguments: list[str]) -> Iterator[tuple[str, str]]:
    """Yield what `--key value` and `--key=value` name."""
    rest = iter(arguments)
    for argument in rest:
        name, equals, value = argument.partition("=")
        if not name.startswith("--"):
            raise click.UsageError(f"{argument!r} is too much: there is one DATASET, and all else are options")
        if not equals and (value := next(rest, "")) == "":
            raise click.UsageError(f"{name} needs a value")
        yield name[2:].replace("-", "_"), value


def _value(key: str, given: object) -> object:
    """Read a value as `--params` does: a text where the key takes one, and else a number, true, false or null."""
    if given == "null" or not isinstance(given, str):
        return None if given == "null" else given
    field = ExperimentConfig.model_fields.get(key)
    if field is not None and takes(field, str):
        return given
    try:
        return json.loads(given)
    except (ValueError, RecursionError):
        return given

"""Commands of the project: `kedro run`, and `kedro sae` with whatever the files of this folder bring.

A file here has `COMMANDS`, a list of click commands or groups, each of which becomes `kedro sae NAME`. They start
fast: what is heavy is imported where it is needed.
"""

from __future__ import annotations

from typing import Any

import click
from kedro.framework.cli.utils import CONTEXT_SETTINGS

from sae_kedro.cli.kedro_run import run as run
from sae_kedro.discovery import submodules
from sae_kedro.errors import InputError


class _OneSentence(click.Group):
    """A group whose commands end on bad input with one sentence and exit code 1."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except InputError as error:
            raise click.ClickException(str(error)) from error


@click.group(context_settings=CONTEXT_SETTINGS)
def cli() -> None:
    """Commands of sae_kedro."""


@click.group(cls=_OneSentence)
def sae() -> None:
    """Work with SAEs, variants and embedding caches."""


for _module in submodules(__name__).values():
    for _command in getattr(_module, "COMMANDS", ()):
        sae.add_command(_command)
cli.add_command(run)
cli.add_command(sae)

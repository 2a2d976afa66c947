"""Project commands: Kedro's own `run`, with errors that are one sentence."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click
from kedro.framework.cli.project import run
from kedro.framework.cli.utils import CONTEXT_SETTINGS

from sae_kedro.errors import InputError


@click.group(context_settings=CONTEXT_SETTINGS)
def cli() -> None:
    """Commands of sae_kedro."""


def _one_sentence(command: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except Exception as error:
            cause: BaseException | None = error
            while cause is not None and not isinstance(cause, InputError):
                cause = cause.__cause__
            if cause is None:
                raise
            raise click.ClickException(str(cause)) from error

    return wrapped


run.callback = _one_sentence(run.callback)
cli.add_command(run)

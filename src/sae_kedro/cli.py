"""Project commands: Kedro's own `run`, with errors that are one sentence."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click
from kedro.config import MissingConfigException
from kedro.framework.cli.project import run
from kedro.framework.cli.utils import CONTEXT_SETTINGS
from kedro.framework.project import pipelines

from sae_kedro.cache_commands import cache
from sae_kedro.errors import InputError, nearest
from sae_kedro.sae_commands import sae
from sae_kedro.training.interrupts import Interrupted


@click.group(context_settings=CONTEXT_SETTINGS)
def cli() -> None:
    """Commands of sae_kedro."""


def _check_pipelines(names: list[str]) -> None:
    for name in names:
        if name not in pipelines:
            known = ", ".join(key for key in pipelines if not key.startswith("_"))
            raise InputError(f"there is no pipeline {name!r}; choose one of {known}{nearest(name, pipelines)}")
    if "compare" in names and len(set(names)) > 1:
        raise InputError("compare encodes, trains and evaluates by itself; run it without another pipeline")


def _one_sentence(command: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            _check_pipelines([name for name in (kwargs["pipeline"], *kwargs["pipelines"]) if name])
            return command(*args, **kwargs)
        except Interrupted as interrupted:
            click.echo(interrupted, err=True)
            raise SystemExit(interrupted.exit_code) from None
        except KeyboardInterrupt:
            click.echo("Interrupted; the same command goes on from what is finished by now", err=True)
            raise SystemExit(130) from None
        except Exception as error:
            cause: BaseException | None = error
            while cause is not None and not isinstance(cause, (InputError, MissingConfigException)):
                cause = cause.__cause__
            if cause is None:
                raise
            raise click.ClickException(str(cause)) from error

    return wrapped


run.callback = _one_sentence(run.callback)
cli.add_command(run)
sae.add_command(cache)
cli.add_command(sae)

"""Kedro's own `run`, with errors that are one sentence."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any

import click
import kedro.runner
from kedro.config import MissingConfigException
from kedro.framework.cli.project import run as run
from kedro.framework.project import pipelines
from kedro.io import DatasetError
from kedro.pipeline import Pipeline
from kedro.pipeline.pipeline import OutputNotUniqueError
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from sae_kedro.errors import InputError, nearest
from sae_kedro.packaged import packaged_configuration
from sae_kedro.training.interrupts import Interrupted

logger = logging.getLogger(__name__)


def _check_pipelines(names: list[str]) -> None:
    for name in names:
        if name not in pipelines:
            known = ", ".join(key for key in pipelines if not key.startswith("_"))
            raise InputError(f"there is no pipeline {name!r}; choose one of {known}{nearest(name, pipelines)}")
    try:
        sum((pipelines[name] for name in names), start=Pipeline([]))
    except OutputNotUniqueError as error:
        raise InputError(f"{' and '.join(names)} make the same datasets; run one after the other") from error


def _full_names(given: list[str], chosen: list[str]) -> list[str]:
    """Complete names of nodes that leave out the group in which the picture of the pipeline folds them."""
    names = [node.name for name in chosen or ["__default__"] for node in pipelines[name].nodes]
    known = {name.rpartition(".")[2]: name for name in names}
    for name in given:
        if name not in {*known, *names}:
            raise InputError(f"there is no node {name!r}; choose among {', '.join(known)}{nearest(name, known)}")
    return [name if name in names else known[name] for name in given]


def _one_sentence(command: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        list(pipelines)  # whoever builds one wrongly sees where
        try:
            if kwargs["pipeline"] and kwargs["pipelines"]:
                raise InputError("give --pipelines or --pipeline, not both")
            if (runner := kwargs["runner"]) and "." not in runner and not hasattr(kedro.runner, runner):
                raise InputError(f"there is no runner {runner!r}; choose SequentialRunner or ThreadRunner, or none")
            chosen = [name for name in (kwargs["pipeline"], *kwargs["pipelines"]) if name]
            _check_pipelines(chosen)
            for option in ("node_names", "from_nodes", "to_nodes"):
                kwargs[option] = _full_names(kwargs[option], chosen)
            kwargs["conf_source"] = kwargs["conf_source"] or packaged_configuration()
            return command(*args, **kwargs)
        except Interrupted as interrupted:
            logger.warning("%s", interrupted)
            raise SystemExit(interrupted.exit_code) from None
        except KeyboardInterrupt:
            logger.warning("Interrupted; the same command goes on from what is finished by now")
            raise SystemExit(130) from None
        except Exception as error:
            if (sentence := _sentence(error)) is None:
                raise
            raise click.ClickException(sentence) from error

    return wrapped


def _sentence(error: Exception) -> str | None:
    """Return what an error says if it is meant for users: one of ours, or one that Kedro raises about its options."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, (InputError, MissingConfigException)):
            return str(cause)
        if isinstance(cause, (OmegaConfBaseException, YAMLError)):
            return f"the configuration cannot be read: {' '.join(str(cause).split())}"
        cause = cause.__cause__
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    raised_in = "" if trace is None else str(trace.tb_frame.f_globals.get("__name__"))
    kedros_own = type(error) is ValueError and raised_in.startswith("kedro.")
    return " ".join(str(error).split()) if kedros_own or isinstance(error, DatasetError) else None


def _with_readable_params(make_context: Callable[..., click.Context]) -> Callable[..., click.Context]:
    @functools.wraps(make_context)
    def wrapped(*args: Any, **kwargs: Any) -> click.Context:
        try:
            return make_context(*args, **kwargs)
        except YAMLError as error:
            raise click.UsageError(
                "--params holds a value that YAML reads as something else; quote it, such as "
                "--params \"dataset_path='*.jsonl'\""
            ) from error

    return wrapped


run.callback = _one_sentence(run.callback)
run.make_context = _with_readable_params(run.make_context)

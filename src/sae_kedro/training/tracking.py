"""Where metrics go while training: always a JSONL file, and Weights & Biases unless it is disabled."""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import logging
import netrc
import os
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, TextIO
from urllib.parse import urlparse

logger = logging.getLogger(__name__)

Row = dict[str, Any]
WANDB_HOSTS = ("api.wandb.ai", "api.forge.coreweave.com")
"""Hosts under which `wandb login` stores credentials in a netrc file."""
CONNECT_SECONDS = 20
"""How long W&B may take to answer before the run goes on offline."""
FINISH_SECONDS = 60
"""How long uploads may take at the end of a run."""
WandbMode = Literal["auto", "online", "offline", "disabled"]


class Tracker:
    """Collects rows of metrics in memory, in a JSONL file and in a W&B run.

    Args:
        cfg: Reads `wandb_mode`, `wandb_project` and `name`; all of it becomes the run's config.
        folder: Where `history.jsonl` and the W&B folder go; None keeps rows in memory only.
    """

    def __init__(self, cfg: dict[str, Any], folder: Path | None = None) -> None:
        self.history: list[Row] = []
        self._folder = folder
        self._file: TextIO | None = None
        self._wandb: _WandbRun | None = None
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            mode = wandb_mode(cfg["wandb_mode"], cfg["wandb_project"])
            if mode != "disabled":
                self._wandb = _WandbRun(cfg, folder, mode)
                atexit.register(self.close)  # a run that ends before its evaluation has nobody else to finish it

    def log(self, row: Row) -> None:
        """Record the metrics of one step; `row` has a key `step`."""
        self.history.append(row)
        if self._folder is not None and self._file is None:  # not before, or a run that is refused empties the last's
            self._file = (self._folder / "history.jsonl").open("w", encoding="utf-8")
        if self._file is not None:
            self._file.write(json.dumps(row) + "\n")
            self._file.flush()
        if self._wandb is not None:
            values = {key: value for key, value in row.items() if key != "step"}
            self._wandb.attempt(lambda run: run.log(values, step=row["step"]))

    def summarise(self, metrics: Row) -> None:
        """Record the final metrics of the run."""
        if self._wandb is not None:
            values = {key: value for key, value in metrics.items() if not isinstance(value, (list, dict))}
            self._wandb.attempt(lambda run: run.summary.update(values))

    def close(self, exit_code: int = 0) -> None:
        """Finish the run; more rows are an error afterwards."""
        if self._file is not None:
            self._file.close()
            self._folder = self._file = None
        if self._wandb is not None:
            self._wandb.finish(exit_code)
            self._wandb = None
            atexit.unregister(self.close)

    def __enter__(self) -> Tracker:
        """Return the tracker."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Finish the run, as failed if there was an error."""
        self.close(exit_code=0 if error is None else 1)


def wandb_mode(mode: WandbMode, project: str | None) -> Literal["online", "offline", "disabled"]:
    """Turn `auto` into `online` where a project is named and credentials exist, `offline` where there are none.

    Being logged in is no consent: without a project nothing of W&B runs, unless `mode` asks for it.
    """
    if mode != "auto":
        return mode
    if project is None:
        return "disabled"
    if os.environ.get("WANDB_API_KEY"):
        return "online"
    own = urlparse(os.environ.get("WANDB_BASE_URL", "")).hostname
    try:
        known = netrc.netrc(os.environ.get("NETRC"))
    except (OSError, netrc.NetrcParseError):
        return "offline"
    return "online" if any(known.authenticators(host) for host in ((own,) if own else WANDB_HOSTS)) else "offline"


class _WandbRun:
    """A W&B run that cannot stop training: where W&B fails, one warning says how to upload the history later.

    Args:
        cfg: Reads `wandb_project` and `name`; all of it becomes the run's config.
        folder: The W&B folder goes below it.
        mode: A run that cannot go online is recorded offline.
    """

    def __init__(self, cfg: dict[str, Any], folder: Path, mode: Literal["online", "offline"]) -> None:
        import wandb
        from wandb.sdk.mailbox import HandleAbandonedError, MailboxClosedError

        self._lost = (ConnectionError, HandleAbandonedError, MailboxClosedError)
        """What calls raise once W&B's own process has died."""
        self._failures = (wandb.Error, OSError, *self._lost)
        self._said = _Said()
        settings = wandb.Settings(
            silent=True,
            console="off",
            init_timeout=CONNECT_SECONDS,
            finish_timeout=FINISH_SECONDS,
            finish_timeout_raises=True,
            disable_git=True,
            save_code=False,
        )
        start = functools.partial(
            wandb.init,
            **{"project": cfg["wandb_project"] or "sae_kedro", "name": cfg["name"], "dir": str(folder), "config": cfg},
            settings=settings,
            reinit="create_new",
        )
        wandb.setup()
        wandb.termsetup(settings, self._said)
        try:
            self._run = start(mode=mode)
        except self._failures as error:
            self._let_go(error)
            wandb.termsetup(settings, self._said)
            self._run = start(mode="offline")
            self._warn(str(error))
        self._offline = mode == "offline"

    def attempt(self, act: Callable[[Any], Any]) -> None:
        """Do something with the run, unless W&B has failed before."""
        if self._run is None:
            return
        try:
            act(self._run)
        except self._failures as error:
            self._warn(str(error) or type(error).__name__)
            self._let_go(error)
            self._run = None

    def finish(self, exit_code: int) -> None:
        """Upload what is left, within `FINISH_SECONDS`."""
        self.attempt(lambda run: run.finish(exit_code=exit_code))
        if self._run is None:
            return
        if self._offline:
            logger.info("W&B history kept offline; upload it with `wandb sync %s`", self._place())
        elif self._said.problems and not self._run.settings._offline:
            self._warn(self._said.problems[0])

    def _place(self) -> Path:
        return Path(self._run.dir).parent

    def _warn(self, reason: str) -> None:
        logger.warning(
            "W&B cannot be reached (%s); the history is kept offline, upload it later with `wandb sync %s`",
            reason.strip().split("\n")[0].split(". ")[0],
            self._place(),
        )

    def _let_go(self, error: BaseException) -> None:
        """Forget W&B's process where it has died, so that the next run starts another."""
        import wandb

        if isinstance(error, self._lost):
            with contextlib.suppress(*self._failures):
                wandb.teardown()


class _Said:
    """What W&B would print on the terminal; its warnings are the only sign of an upload that was given up."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def info(self, text: str) -> None:
        """Take no notice."""

    def warning(self, text: str) -> None:
        """Remember."""
        self.problems.append(text.removeprefix("wandb: ").removeprefix("WARNING "))

    error = warning

"""Where metrics go while training: always a JSONL file, and Weights & Biases unless it is disabled."""

from __future__ import annotations

import json
import logging
import netrc
import os
from pathlib import Path
from types import TracebackType
from typing import Any, Literal
from urllib.parse import urlparse

logger = logging.getLogger(__name__)

Row = dict[str, Any]
WANDB_HOSTS = ("api.wandb.ai", "api.forge.coreweave.com")
"""Hosts under which `wandb login` stores credentials in a netrc file."""
CONNECT_SECONDS = 20
"""How long W&B may take to answer before the run goes on offline."""
WandbMode = Literal["auto", "online", "offline", "disabled"]


class Tracker:
    """Collects rows of metrics in memory, in a JSONL file and in a W&B run.

    Args:
        cfg: Reads `wandb_mode`, `wandb_project` and `name`; all of it becomes the run's config.
        folder: Where `history.jsonl` and the W&B folder go; None keeps rows in memory only.
    """

    def __init__(self, cfg: dict[str, Any], folder: Path | None = None) -> None:
        self.history: list[Row] = []
        self._file = None
        self._run: Any = None
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = (folder / "history.jsonl").open("w", encoding="utf-8")
            self._run = _start_wandb(cfg, folder)

    def log(self, row: Row) -> None:
        """Record the metrics of one step; `row` has a key `step`."""
        self.history.append(row)
        if self._file is not None:
            self._file.write(json.dumps(row) + "\n")
            self._file.flush()
        if self._run is not None:
            self._run.log({key: value for key, value in row.items() if key != "step"}, step=row["step"])

    def summarise(self, metrics: Row) -> None:
        """Record the final metrics of the run."""
        if self._run is not None:
            self._run.summary.update(
                {key: value for key, value in metrics.items() if not isinstance(value, (list, dict))}
            )

    def close(self, exit_code: int = 0) -> None:
        """Finish the run; more rows are an error afterwards."""
        if self._file is not None:
            self._file.close()
            self._file = None
        if self._run is not None:
            folder = Path(self._run.dir).parent
            offline = bool(self._run.settings._offline)
            self._run.finish(exit_code=exit_code)
            self._run = None
            if offline:
                logger.info("W&B history kept offline; upload it with `wandb sync %s`", folder)

    def __enter__(self) -> Tracker:
        """Return the tracker."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Finish the run, as failed if there was an error."""
        self.close(exit_code=0 if error is None else 1)


def wandb_mode(mode: WandbMode) -> Literal["online", "offline", "disabled"]:
    """Turn `auto` into `online` where W&B credentials exist, else `offline`."""
    if mode != "auto":
        return mode
    if os.environ.get("WANDB_API_KEY"):
        return "online"
    own = urlparse(os.environ.get("WANDB_BASE_URL", "")).hostname
    try:
        known = netrc.netrc(os.environ.get("NETRC"))
    except (FileNotFoundError, netrc.NetrcParseError):
        return "offline"
    return "online" if any(known.authenticators(host) for host in ((own,) if own else WANDB_HOSTS)) else "offline"


def _start_wandb(cfg: dict[str, Any], folder: Path) -> Any:
    mode = wandb_mode(cfg["wandb_mode"])
    if mode == "disabled":
        return None
    import wandb

    settings = wandb.Settings(
        silent=True, console="off", init_timeout=CONNECT_SECONDS, disable_git=True, save_code=False
    )
    place = {"project": cfg["wandb_project"], "name": cfg["name"], "dir": str(folder), "config": cfg}
    try:
        return wandb.init(mode=mode, settings=settings, reinit="create_new", **place)
    except wandb.Error as error:
        logger.warning("W&B cannot be reached (%s); the history is kept offline", str(error).split("\n")[0])
        return wandb.init(mode="offline", settings=settings, reinit="create_new", **place)

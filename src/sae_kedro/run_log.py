"""The log of a run in a file: what is shown while it runs, but for progress bars, and the error that ended it."""

from __future__ import annotations

import logging
import sys
from logging.handlers import MemoryHandler
from pathlib import Path
from types import TracebackType
from typing import Any

import click

from sae_kedro._version import __version__
from sae_kedro.errors import InputError

FILE = "run.log"
_TOLD = ("pipeline_names", "env", "node_names", "from_nodes", "to_nodes", "tags", "runtime_params")


class RunLog:
    """Notes all that is logged, Python's own warnings too, as long as a `with` block runs.

    Args:
        run_params: What Kedro knows of the run; the log starts with it.
    """

    def __init__(self, run_params: dict[str, Any]) -> None:
        self._handler: logging.Handler = MemoryHandler(sys.maxsize, flushLevel=sys.maxsize)
        chosen = (f"{key}={run_params[key]!r}" for key in _TOLD if run_params.get(key))
        self._note(logging.INFO, ", ".join([f"sae_kedro {__version__}", *chosen]))

    def __enter__(self) -> RunLog:
        """Start to listen."""
        logging.getLogger().addHandler(self._handler)
        logging.captureWarnings(True)
        return self

    def write_to(self, folder: Path, anew: bool) -> None:
        """Put what is noted, now and from now on, into the file of a folder; without this it is forgotten.

        Args:
            folder: Where `FILE` is, or is to be.
            anew: Whether it replaces what is there; otherwise it follows that.

        Raises:
            InputError: It cannot be written.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
            file = logging.FileHandler(folder / FILE, mode="w" if anew else "a", encoding="utf-8")
        except OSError as error:
            raise InputError(f"{folder / FILE} cannot be written: {error.strerror}") from error
        file.setFormatter(_Plain("%(asctime)s %(levelname)-7s %(message)s"))
        assert isinstance(self._handler, MemoryHandler)
        self._handler.setTarget(file)
        self._let_go()
        self._handler = file
        logging.getLogger().addHandler(file)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop listening; note an error, and where it came from if it is none that users can mend."""
        if kind is not None and error is not None:
            self._note(logging.ERROR, str(error), None if isinstance(error, InputError) else (kind, error, trace))
        logging.captureWarnings(False)
        self._let_go()

    def _note(self, level: int, text: str, exc_info: Any = None) -> None:
        self._handler.handle(logging.LogRecord(__name__, level, __file__, 0, text, None, exc_info))

    def _let_go(self) -> None:
        logging.getLogger().removeHandler(self._handler)
        self._handler.close()


class _Plain(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """Leave out colours."""
        return click.unstyle(super().format(record))

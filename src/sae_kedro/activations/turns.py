"""Runs that encode into the same folder take turns; what its disk refuses becomes a sentence."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from sae_kedro.activations.shards import LOCK_FILE
from sae_kedro.errors import InputError

logger = logging.getLogger(__name__)


class Turns:
    """The lock under which the shards of a folder are encoded and written; it ends with the process.

    What its methods are told, `n_kept`, is how many texts are encoded by now, for the sentence about a full disk.

    Args:
        folder: The folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock, self._told = FileLock(folder / LOCK_FILE), False

    @contextmanager
    def take(self, n_kept: int) -> Iterator[None]:
        """Hold the lock under which shards are encoded and written."""
        with self.disk(n_kept):
            self._folder.mkdir(parents=True, exist_ok=True)
            try:
                self._lock.acquire(blocking=False)
            except Timeout:
                if not self._told:
                    self._told = True
                    logger.info("Another run is encoding into %s; waiting for it", self._folder)
                self._lock.acquire()
        try:
            yield
        finally:
            self._lock.release()

    @contextmanager
    def disk(self, n_kept: int) -> Iterator[None]:
        """Turn what the disk refuses into a sentence."""
        try:
            yield
        except OSError as error:
            raise InputError(
                f"{self._folder} cannot be written ({error.strerror or error}); the {n_kept:,} texts encoded so "
                "far are kept: make room, or set data_root to another disk, and run again"
            ) from error

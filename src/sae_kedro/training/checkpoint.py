"""Checkpoints: all that a run needs to go on as if it had never stopped, in files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from sae_kedro.errors import InputError
from sae_kedro.keys import NOT_DECISIVE

logger = logging.getLogger(__name__)

KEPT = 2
"""Checkpoints of a run that stay on disk: the last one, and one more in case it is damaged."""
_NAME = re.compile(r"step-(\d+)-([0-9a-f]{16})\.safetensors")


class Checkpoint(NamedTuple):
    """What a checkpoint file holds."""

    tensors: dict[str, Tensor]
    """Weights, buffers, optimiser moments, counters and random states."""
    notes: dict[str, Any]
    """Everything else, as JSON."""


class Checkpoints:
    """The checkpoints of one run.

    A file's name carries its step and a digest of its bytes, so that a torn or damaged one is recognised. Those of an
    earlier run stay until this one has written its first.

    Args:
        folder: Where they lie; None keeps nothing.
        identity: What must be the same for a run to be continued: `cfg`, and what identifies the data.
    """

    def __init__(self, folder: Path | None, identity: dict[str, Any]) -> None:
        self.folder = folder
        self._identity = identity | {"cfg": _decisive(identity["cfg"])}
        self._own: list[Path] = []

    @property
    def last(self) -> Path | None:
        """The file that this run wrote or continued last."""
        return self._own[-1] if self._own else None

    def save(self, step: int, checkpoint: Checkpoint) -> Path | None:
        """Write a checkpoint and remove those no longer needed; a disk that cannot take it is only warned of."""
        if self.folder is None:
            return None
        notes = json.dumps(checkpoint.notes | {"identity": self._identity})
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in checkpoint.tensors.items()}
        content = save(tensors, {"notes": notes})
        path = self.folder / f"step-{step:07d}-{_digest(content)}.safetensors"
        partial = self.folder / "unfinished.tmp"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        except OSError as error:
            with contextlib.suppress(OSError):
                partial.unlink()
            logger.warning("The checkpoint of step %d cannot be written (%s); training goes on", step, error.strerror)
            return None
        self._own = [*[file for file in self._own if file != path][1 - KEPT :], path]
        for *_, old in _files(self.folder):
            if old not in self._own:
                old.unlink()
        return path

    def latest(self) -> Checkpoint | None:
        """Load the last sound checkpoint; None if there is none.

        Raises:
            InputError: It belongs to another run; names what differs.
        """
        if self.folder is None:
            return None
        path, damaged = _last_sound(self.folder)
        for file in damaged:
            logger.warning("The checkpoint %s is damaged; the one before it is used", file)
        if path is None:
            logger.info("There is no checkpoint in %s; starting from the first step", self.folder)
            return None
        with safe_open(path, "pt") as file:
            notes = json.loads(file.metadata()["notes"])
            _refuse_other(path, notes.pop("identity"), self._identity)
            self._own = [path]
            names = file.keys()
            return Checkpoint({name: file.get_tensor(name) for name in names}, notes)


def check_resumable(folder: Path, cfg: dict[str, Any]) -> None:
    """Refuse a configuration that differs from that of the last checkpoint in `folder`, before anything is loaded.

    Raises:
        InputError: Names what differs.
    """
    path, _ = _last_sound(folder)
    if path is not None:
        with safe_open(path, "pt") as file:
            theirs = json.loads(file.metadata()["notes"])["identity"]
        _refuse_other(path, theirs, {"cfg": _decisive(cfg)})


def _decisive(cfg: dict[str, Any]) -> dict[str, Any]:
    decisive: dict[str, Any] = json.loads(json.dumps({key: cfg[key] for key in cfg if key not in NOT_DECISIVE}))
    return decisive


def _refuse_other(path: Path, theirs: dict[str, Any], ours: dict[str, Any]) -> None:
    before, now = theirs["cfg"], ours["cfg"]
    differing = [key for key in sorted(before.keys() | now.keys()) if before.get(key) != now.get(key)]
    told = ", ".join(f"{key} was {before.get(key)!r} and is {now.get(key)!r}" for key in differing)
    if not told and any(theirs[key] != value for key, value in ours.items()):
        told = "the corpus, the model or the texts held out have changed"
    if told:
        raise InputError(
            f"the checkpoint {path} is of another run: {told}; go back to what it was, or start anew with resume=false"
        )


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=8).hexdigest()


def _files(folder: Path) -> list[tuple[int, str, Path]]:
    """List checkpoint files: step, digest and path, by step."""
    matches = ((_NAME.fullmatch(path.name), path) for path in (folder.iterdir() if folder.is_dir() else ()))
    return sorted((int(match[1]), match[2], path) for match, path in matches if match)


def _last_sound(folder: Path) -> tuple[Path | None, list[Path]]:
    """Find the last file whose content matches its name, and the damaged ones after it."""
    damaged: list[Path] = []
    for _, digest, path in reversed(_files(folder)):
        if _digest(path.read_bytes()) == digest:
            return path, damaged
        damaged.append(path)
    return None, damaged

"""A run before its first node: what the `checks.py` of pipelines look at, and how theirs are found."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from importlib.util import find_spec
from inspect import isfunction
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from kedro.io import AbstractDataset, MemoryDataset

from sae_kedro.activations.shards import LOCK_FILE
from sae_kedro.config import post_init_cfg, run_folder
from sae_kedro.discovery import names_in
from sae_kedro.errors import InputError
from sae_kedro.keys import ExperimentConfig

PLACES = ("data_root", "cache_root")
"""Keys that name folders to write to."""
CORPUS_KEYS = ("dataset_path", "dataset_config", "dataset_split", "dataset_revision", "text_column", "embedding_column")
"""Keys that say which corpus is meant."""
PATH_KEYS = ("sae_type", "data_root", "name")
"""Keys that are part of output paths: the catalog reads them from globals.yml and --params alone."""


@dataclass
class PlannedRun:
    """What is known of a run before it starts."""

    parameters: dict[str, Any]
    """What the first node will get, as configuration and `--params` say it."""
    given: Mapping[str, Any]
    """What `--params` say alone."""
    shared: Mapping[str, Any]
    """What `globals.yml` says."""
    catalog: Any
    inputs: set[str]
    """Datasets that no node of the run makes."""
    project_path: Path
    """Where relative paths of outputs start."""
    writes: set[Path] = field(default_factory=set, init=False)
    """Folders that the run will write to, and no other run meanwhile: checks add theirs."""
    starts_anew: bool = field(default=False, init=False)
    """Whether the run replaces what is in its folders, its log included: a check says so."""
    notes: list[str] = field(default_factory=list, init=False)
    """What is to be said once all checks have passed."""
    _provided: dict[str, Any] = field(default_factory=dict, init=False)
    _derive: Callable[[dict[str, Any]], dict[str, Any]] = field(default_factory=lambda: post_init_cfg, init=False)

    @cached_property
    def cfg(self) -> dict[str, Any]:
        """The configuration, checked and completed, with absolute folders that can be written to.

        Raises:
            InputError: Whatever is wrong, in one sentence.
        """
        self.parameters = self.parameters | self._corpus_of_sae()
        cfg = self._derive(self.parameters)
        given = {**self.shared, **self.given}
        for key in PATH_KEYS:
            value = self.parameters.get(key, ExperimentConfig.model_fields[key].default)
            if value != given.get(key):
                raise InputError(f"set {key}={value!r} in globals.yml or with --params, not in parameters.yml")
        for key in self.shared.keys() - set(PATH_KEYS):
            raise InputError(f"{key!r} has no effect in globals.yml; set it in parameters.yml or with --params")
        return cfg | {key: str(self._writable(key, cfg[key])) for key in PLACES if cfg[key] is not None}

    @property
    def placed(self) -> dict[str, Any]:
        """The parameters, with absolute folders."""
        return self.parameters | {key: self.cfg[key] for key in PLACES}

    @property
    def reports(self) -> Path:
        """Where its reports and its log go."""
        return Path(self.cfg["data_root"], "08_reporting", run_folder(self.cfg))

    def derive_with(self, derive: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        """Say what turns parameters into the configuration, before any check has asked for it."""
        assert "cfg" not in vars(self), "a check before this one has asked for the configuration"
        self._derive = derive

    def hold_folders(self) -> ExitStack:
        """Take the folders that the run writes to, for as long as the returned stack is open or this process lives.

        Raises:
            InputError: Another run has one of them.
        """
        with ExitStack() as held:
            for folder in sorted(self.writes):
                folder.mkdir(parents=True, exist_ok=True)
                try:
                    held.enter_context(FileLock(folder / LOCK_FILE).acquire(blocking=False))
                except Timeout as error:
                    raise InputError(
                        f"another run is writing to {folder}; wait for it, or give this one folders of its own with "
                        "name=..."
                    ) from error
            return held.pop_all()

    def check_inputs(self) -> None:
        """Make sure that what no node of the run makes is there, or can be made from what is.

        Raises:
            InputError: Names what is missing.
        """
        if missing := [name for name in self._missing() if _maker(name) is None]:
            raise InputError(
                f"what was chosen to run needs {', '.join(missing)}, which no file holds and no chosen node makes; "
                "choose the nodes that make it, too, or a whole pipeline"
            )

    def provide_inputs(self) -> None:
        """Put what other nodes would have left in memory into the catalog, as far as nodes of this run need it."""
        for name in self._missing():
            if self.catalog.get(name) is None:
                self.catalog[name] = MemoryDataset(copy_mode="assign")
            self.catalog.save(name, self.provided(name))

    def provided(self, name: str) -> Any:
        """Return a dataset that lives in memory, made by the function of its name in a `provided.py`."""
        if name not in self._provided:
            maker = _maker(name)
            assert maker is not None
            self._provided[name] = maker(self)
        return self._provided[name]

    def _corpus_of_sae(self) -> dict[str, Any]:
        """Return what says which corpus the saved SAE was trained on, for a run that takes it and names no other."""
        fields = ExperimentConfig.model_fields
        named = any(self.parameters.get(key, fields[key].default) != fields[key].default for key in CORPUS_KEYS)
        if named or "sae" not in self.inputs or "dataset_path" in self.given or not self.catalog.exists("sae"):
            return {}
        trained_with = self.catalog.load("sae").cfg
        corpus = {key: trained_with.get(key) for key in CORPUS_KEYS}
        if corpus["dataset_path"] in (None, fields["dataset_path"].default):
            return {}
        self.notes.append(f"No dataset_path is given: taking that of the SAE, {corpus['dataset_path']}")
        return {key: value for key, value in corpus.items() if value is not None}

    def _writable(self, key: str, given: str) -> Path:
        folder = self.project_path / os.path.expanduser(given)
        if "\0" in given or os.path.expanduser(given).startswith("~"):
            raise InputError(f"{key}={given!r} is not a folder's name: it holds a NUL or names nobody's home")
        try:
            existing = next(place for place in (folder, *folder.parents) if place.exists())
        except OSError as error:
            raise InputError(f"{key}={given!r} cannot be written: {error.strerror}") from error
        if not existing.is_dir() or not os.access(existing, os.W_OK):
            raise InputError(f"{key}={given!r} cannot be written: {existing} is not a folder with write permission")
        return folder

    def _missing(self) -> list[str]:
        return [name for name in sorted(self.inputs) if self._is_missing(name)]

    def _is_missing(self, name: str) -> bool:
        dataset = self.catalog.get(name)
        if dataset is None:
            return True
        can_tell = type(dataset)._exists is not AbstractDataset._exists
        return can_tell and not self.catalog.exists(name)


def check_of(function: Callable[..., Any]) -> Callable[[PlannedRun], None] | None:
    """Return what must hold before a node runs: the function of its name in the `checks.py` beside its `nodes.py`.

    Args:
        function: The function that the node calls.
    """
    module = f"{function.__module__.rpartition('.')[0]}.checks"
    if not module.startswith(f"{__package__}.") or find_spec(module) is None:
        return None
    check: Callable[[PlannedRun], None] | None = getattr(import_module(module), function.__name__, None)
    return check


def _maker(name: str) -> Callable[[PlannedRun], Any] | None:
    """Return the function that makes a dataset which lives in memory, from the `provided.py` of a pipeline."""
    places = (f"{__package__}.{folder}.provided" for folder in names_in(str(__package__)))
    modules = (import_module(place) for place in places if _is_module(place))
    return next((vars(module)[name] for module in modules if isfunction(vars(module).get(name))), None)


def _is_module(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # its parent is a module, not a folder
        return False

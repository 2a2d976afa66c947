"""What must hold before an SAE is evaluated."""

from __future__ import annotations

from pathlib import Path

from sae_kedro.errors import InputError, shown
from sae_kedro.evaluation.downstream import check_downstream
from sae_kedro.pipelines.planned_run import PlannedRun
from sae_kedro.pipelines.train.nodes import model_folder


def evaluate_sae(run: PlannedRun) -> None:
    """An SAE that is not trained in this run is there, and belongs to this model."""
    check_saved(run)


def report_metrics(run: PlannedRun) -> None:
    """The same; and nobody else writes a report there."""
    check_saved(run)
    run.writes.add(model_folder(run.cfg))


def run_downstream(run: PlannedRun) -> None:
    """The same; and labels, sets of texts and another SAE can be read, where keys name them."""
    check_saved(run)
    cfg = run.cfg
    if cfg["stability_path"] is not None and _place(cfg["stability_path"]) == _place(model_folder(cfg)):
        raise InputError(
            f"stability_path={shown(cfg['stability_path'])} is where this SAE itself is saved; move "
            "the one of the other seed to a folder of its own"
        )
    check_downstream(cfg)


def check_saved(run: PlannedRun) -> None:
    """Make sure that an SAE that is not trained in this run is there, and belongs to these embeddings.

    Raises:
        InputError: It is not, or does not.
    """
    if "sae" not in run.inputs:
        return
    cfg = run.cfg
    if not run.catalog.exists("sae"):
        name = run.parameters.get("name")
        which = f"SAE of name={name!r}" if name else f"{cfg['sae_type']} SAE"
        given = f"name={name}" if name else f"sae_type={cfg['sae_type']}"
        raise InputError(
            f"there is no trained {which} in data_root={run.parameters['data_root']!r}; "
            f"run `kedro run --pipelines train --params {given}` first; `kedro sae models` lists those that are there"
        )
    trained_with = run.catalog.load("sae").cfg
    given_here = {"dict_size", "top_k", "input_unit_norm"} & set(run.given)
    for key in ("model_name", "act_size", *sorted(given_here)):
        value = trained_with.get(key)
        if value != cfg[key] and None not in (value, cfg[key]):
            raise InputError(f"{key}={cfg[key]!r} is not what this SAE was trained with; set {key}={shown(value)}")


def _place(path: str | Path) -> Path:
    return Path(path).expanduser().resolve()

"""What must hold of an SAE that an earlier run has trained."""

from __future__ import annotations

from pathlib import Path

from sae_kedro.errors import InputError, shown
from sae_kedro.pipelines.planned_run import PlannedRun
from sae_kedro.pipelines.train.nodes import model_folder


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


def check_other_seed(run: PlannedRun) -> None:
    """Make sure that the SAE of another seed, where a key names one, can be loaded and is not the one of this run.

    Raises:
        InputError: It cannot, or is.
    """
    given = run.cfg["stability_path"]
    if given is None:
        return
    from sae_kedro.evaluation.measures.stability import load_other_seed

    if Path(given).expanduser().resolve() == model_folder(run.cfg).resolve():
        raise InputError(
            f"stability_path={shown(given)} is where this SAE itself is saved; move the one of the other seed to a "
            "folder of its own"
        )
    load_other_seed(run.cfg)

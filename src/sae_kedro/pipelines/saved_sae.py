"""What must hold of an SAE that an earlier run has trained."""

from __future__ import annotations

from sae_kedro.errors import InputError, shown
from sae_kedro.pipelines.planned_run import PlannedRun


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

"""What must hold before variants are compared."""

from __future__ import annotations

import logging
from typing import Any

from sae_kedro.comparison.grid import comparison_cfgs
from sae_kedro.errors import InputError, shown
from sae_kedro.keys import TABLES
from sae_kedro.pipelines.planned_run import PlannedRun
from sae_kedro.pipelines.train.nodes import model_folder
from sae_kedro.training.feasibility import check_trainable

logger = logging.getLogger(__name__)


def plan_comparison(run: PlannedRun) -> None:
    """Variants and sparsities come from keys of their own, and each makes a configuration that is sound."""
    for key in ("sae_type", "top_k"):
        if key in run.given:
            raise InputError(f"compare does not read {key}; set {key}s={run.given[key]}")
    for key, field in TABLES["evaluate"].model_fields.items():
        if run.parameters.get(key, field.default) != field.default:
            logger.warning("compare does not read %s=%r; it is for the evaluation of one SAE", key, run.parameters[key])
    run.derive_with(_first_cfg)
    for key in sorted(run.cfg["sweep"].keys() & run.given.keys()):
        raise InputError(f"sweep holds {key}, and {key}={shown(run.given[key])} is given, too; leave one of them out")


def compare_variants(run: PlannedRun) -> None:
    """There are texts and memory to train every model with."""
    for cfg in comparison_cfgs(run.parameters):
        check_trainable(cfg)
    run.writes.add(model_folder(run.cfg))


def _first_cfg(parameters: dict[str, Any]) -> dict[str, Any]:
    return comparison_cfgs(parameters)[0] | {"name": "compare"}  # as its folders are called

"""What must hold before groups of texts are predicted."""

from __future__ import annotations

from sae_kedro.pipelines.groups import check_groups
from sae_kedro.pipelines.planned_run import PlannedRun


def predict_target(run: PlannedRun) -> None:
    """The same as for a contrast."""
    check_groups(run, "predict")

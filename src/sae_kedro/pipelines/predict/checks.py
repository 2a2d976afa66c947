"""What must hold before groups of texts are predicted."""

from __future__ import annotations

from sae_kedro.pipelines.contrast.checks import check_question
from sae_kedro.pipelines.planned_run import PlannedRun


def predict_target(run: PlannedRun) -> None:
    """The same as for a contrast."""
    check_question(run, "predict")

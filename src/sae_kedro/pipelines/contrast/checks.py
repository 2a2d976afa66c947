"""What must hold before groups of texts are set against each other."""

from __future__ import annotations

from sae_kedro.pipelines.groups import check_groups
from sae_kedro.pipelines.planned_run import PlannedRun


def contrast_groups(run: PlannedRun) -> None:
    """An SAE is there; one key says what the groups are; corpora and columns can be opened and have groups."""
    check_groups(run, "contrast")

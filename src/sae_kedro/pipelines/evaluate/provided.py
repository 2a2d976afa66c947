"""What evaluation leaves in memory, for a run that starts within it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sae_kedro.pipelines.evaluate import nodes

if TYPE_CHECKING:
    from sae_kedro.pipelines.planned_run import PlannedRun


def downstream(run: PlannedRun) -> dict[str, Any]:
    """What the saved SAE does downstream, where keys name data."""
    return nodes.run_downstream(run.cfg, run.catalog.load("sae"), run.provided("activations_store"))

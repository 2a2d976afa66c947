"""What must hold before an SAE is evaluated."""

from __future__ import annotations

from sae_kedro.evaluation.downstream import check_downstream
from sae_kedro.pipelines.planned_run import PlannedRun
from sae_kedro.pipelines.saved_sae import check_other_seed, check_saved
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
    check_other_seed(run)
    check_downstream(run.cfg)

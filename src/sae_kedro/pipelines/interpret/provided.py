"""What a run leaves in memory for labels and the explorer, made again for one that starts behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sae_kedro.pipelines.interpret import nodes

if TYPE_CHECKING:
    from sae_kedro.interpretation.codes import Coded
    from sae_kedro.pipelines.planned_run import PlannedRun


def coded(run: PlannedRun) -> Coded:
    """The corpus and its codes."""
    return nodes.code_corpus(run.catalog.load("sae"), run.provided("activations_store"))

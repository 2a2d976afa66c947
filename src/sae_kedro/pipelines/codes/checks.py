"""What must hold before codes are written."""

from __future__ import annotations

from sae_kedro.corpora.opening import open_column
from sae_kedro.errors import InputError
from sae_kedro.interpretation import CODE_COLUMNS
from sae_kedro.pipelines.codes.nodes import codes_folder, columns_of
from sae_kedro.pipelines.planned_run import PlannedRun
from sae_kedro.pipelines.saved_sae import check_saved


def write_codes(run: PlannedRun) -> None:
    """An SAE is there and belongs to these embeddings; the corpus has the columns that are to travel with the codes."""
    check_saved(run)
    for name, key in columns_of(run.cfg).items():
        if name in CODE_COLUMNS:
            raise InputError(f"{key} holds {name!r}, which the table of codes has anyway; leave it out")
        open_column(run.cfg, key, name)
    run.writes.add(codes_folder(run.cfg))

"""What must hold before groups of texts are set against each other."""

from __future__ import annotations

from sae_kedro.corpora.opening import open_column, open_corpus
from sae_kedro.errors import InputError
from sae_kedro.pipelines.contrast.nodes import columns_of
from sae_kedro.pipelines.planned_run import PlannedRun
from sae_kedro.pipelines.saved_sae import check_saved
from sae_kedro.pipelines.train.nodes import model_folder

QUESTIONS = ("label_column", "target_column", "contrast_path")


def contrast_groups(run: PlannedRun) -> None:
    """An SAE is there; one key says what the groups are; corpora and columns can be opened."""
    check_saved(run)
    asked = [f"{key}={run.cfg[key]}" for key in QUESTIONS if run.cfg[key] is not None]
    if len(asked) != 1:
        given = f"{' and '.join(asked)} are given" if asked else "none is given"
        raise InputError(f"contrast needs one of {', '.join(QUESTIONS)}, and {given}")
    corpora = [run.cfg]
    if run.cfg["contrast_path"] is not None:
        corpora.append(run.cfg | {"dataset_path": run.cfg["contrast_path"]})
        open_corpus(corpora[1])
    for cfg in corpora:
        for name, key in columns_of(cfg).items():
            open_column(cfg, key, name)
    run.writes.add(model_folder(run.cfg))

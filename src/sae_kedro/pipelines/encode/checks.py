"""What must hold before texts are streamed and encoded."""

from __future__ import annotations

from sae_kedro.corpora.opening import open_corpus
from sae_kedro.errors import InputError
from sae_kedro.models import check_model_files, stated_size
from sae_kedro.pipelines.planned_run import PlannedRun


def stream_texts(run: PlannedRun) -> None:
    """The corpus can be opened, and local files hold a text."""
    open_corpus(run.cfg)


def load_model(run: PlannedRun) -> None:
    """The model has weights, and embeddings of the size that was asked for."""
    cfg = run.cfg
    check_model_files(cfg["model_name"])
    if (size := stated_size(cfg["model_name"])) not in (None, cfg["act_size"]):
        raise InputError(
            f"act_size={cfg['act_size']} does not match {cfg['model_name']}, whose embeddings have size {size}; "
            "leave act_size at null"
        )

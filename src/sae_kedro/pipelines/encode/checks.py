"""What must hold before texts are streamed and encoded."""

from __future__ import annotations

from sae_kedro.corpora.opening import brings_embeddings, brought_size, open_corpus
from sae_kedro.errors import InputError
from sae_kedro.models import check_model_files, stated_size
from sae_kedro.pipelines.planned_run import PlannedRun


def stream_texts(run: PlannedRun) -> None:
    """The corpus can be opened, and local files hold a text."""
    open_corpus(run.cfg)


def load_model(run: PlannedRun) -> None:
    """The model has weights, where one is needed, and embeddings have the size that was asked for."""
    cfg = run.cfg
    if brings_embeddings(cfg):
        source, size = cfg["dataset_path"], brought_size(cfg)
    else:
        check_model_files(cfg["model_name"])
        source, size = cfg["model_name"], stated_size(cfg["model_name"]) or cfg["act_size"]
    if size != cfg["act_size"]:
        raise InputError(
            f"act_size={cfg['act_size']} does not match {source}, whose embeddings have size {size}; "
            "leave act_size at null"
        )

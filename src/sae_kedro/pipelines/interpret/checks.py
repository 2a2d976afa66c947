"""What must hold before latents are interpreted."""

from __future__ import annotations

from sae_kedro.corpora.opening import open_corpus
from sae_kedro.errors import InputError
from sae_kedro.interpretation.llm.client import language_model
from sae_kedro.interpretation.llm.interview import Interview
from sae_kedro.interpretation.own_labels import read_own_labels
from sae_kedro.pipelines.interpret.nodes import answers_file, own_labels_file
from sae_kedro.pipelines.planned_run import PlannedRun
from sae_kedro.pipelines.saved_sae import check_other_seed, check_saved
from sae_kedro.pipelines.train.nodes import model_folder


def interpret_latents(run: PlannedRun) -> None:
    """An SAE is there and belongs to these embeddings, which are of texts."""
    check_saved(run)
    if not open_corpus(run.cfg).has_texts:
        raise InputError(
            f"interpret needs texts, and {run.cfg['dataset_path']} holds embeddings alone; give the texts as "
            "dataset_path and the embeddings as embedding_column"
        )
    interpret_trained(run)


def interpret_trained(run: PlannedRun) -> None:
    """Nobody else writes there; own labels can be read, another seed loaded, and a language model asked."""
    check_other_seed(run)
    run.writes.add(model_folder(run.cfg))
    read_own_labels(own_labels_file(run.cfg))
    if (model := language_model(run.cfg)) is not None:
        Interview(model, answers_file(run.cfg)).check()

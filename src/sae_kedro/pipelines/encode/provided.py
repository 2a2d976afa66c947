"""What encoding leaves in memory, made again for a run that starts behind it: nothing on disk is encoded twice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sae_kedro.pipelines.encode import nodes

if TYPE_CHECKING:
    from sae_kedro.activations.cache import EmbeddingCache, Encoder
    from sae_kedro.activations.ready import EmbeddingArray
    from sae_kedro.activations.store import ActivationsStoreSBERT
    from sae_kedro.corpora.base import Corpus
    from sae_kedro.pipelines.planned_run import PlannedRun


def cfg(run: PlannedRun) -> dict[str, Any]:
    """The configuration of this run."""
    return run.cfg


def texts(run: PlannedRun) -> Corpus:
    """Its corpus."""
    return nodes.stream_texts(run.cfg)


def model(run: PlannedRun) -> Encoder:
    """Its model, not loaded."""
    return nodes.load_model(run.cfg)


def embeddings(run: PlannedRun) -> EmbeddingCache | EmbeddingArray:
    """Its embeddings, from the cache."""
    return nodes.encode_texts(run.cfg, run.provided("model"), run.provided("texts"))


def activations_store(run: PlannedRun) -> ActivationsStoreSBERT:
    """The buffer in front of them."""
    return nodes.buffer_activations(run.cfg, run.provided("embeddings"))

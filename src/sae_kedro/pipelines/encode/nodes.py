"""Nodes that turn a text corpus into a buffer of embeddings. Heavy libraries load inside them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sae_kedro.config import post_init_cfg

if TYPE_CHECKING:
    from sae_kedro.activations.cache import EmbeddingCache, Encoder
    from sae_kedro.activations.ready import EmbeddingArray
    from sae_kedro.activations.store import ActivationsStoreSBERT
    from sae_kedro.corpora.base import Corpus


def load_config(parameters: dict[str, Any]) -> dict[str, Any]:
    """Check the parameters and fill in what is derived."""
    return post_init_cfg(parameters)


def stream_texts(cfg: dict[str, Any]) -> Corpus:
    """Open the corpus as a stream of texts."""
    from sae_kedro.corpora.opening import open_corpus

    return open_corpus(cfg)


def load_model(cfg: dict[str, Any]) -> Encoder:
    """Set up the Sentence-BERT model; its weights load when the first text has to be encoded."""
    from sae_kedro.activations.store import open_encoder

    return open_encoder(cfg)


def encode_texts(cfg: dict[str, Any], model: Encoder, texts: Corpus) -> EmbeddingCache | EmbeddingArray:
    """Encode every text that brings no embedding and has none in the cache."""
    from sae_kedro.activations.store import open_embeddings

    embeddings = open_embeddings(cfg, texts, model)
    embeddings.fill()
    return embeddings


def buffer_activations(cfg: dict[str, Any], embeddings: EmbeddingCache | EmbeddingArray) -> ActivationsStoreSBERT:
    """Put the shuffling buffer in front of the embeddings."""
    from sae_kedro.activations.store import ActivationsStoreSBERT

    return ActivationsStoreSBERT.from_cache(embeddings, cfg)

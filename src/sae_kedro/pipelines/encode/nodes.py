"""Nodes that turn a text corpus into a buffer of embeddings. Heavy libraries load inside them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sae_kedro.config import post_init_cfg

if TYPE_CHECKING:
    from sae_kedro.activations.cache import EmbeddingCache
    from sae_kedro.activations.encoder import TextEncoder
    from sae_kedro.activations.store import ActivationsStoreSBERT
    from sae_kedro.corpora.base import Corpus


def load_config(parameters: dict[str, Any]) -> dict[str, Any]:
    """Check the parameters and fill in what is derived."""
    return post_init_cfg(parameters)


def stream_texts(cfg: dict[str, Any]) -> Corpus:
    """Open the corpus as a stream of texts."""
    from sae_kedro.corpora.opening import open_corpus

    return open_corpus(cfg)


def load_model(cfg: dict[str, Any]) -> TextEncoder:
    """Set up the Sentence-BERT model; its weights load when the first text has to be encoded."""
    from sae_kedro.activations.encoder import TextEncoder

    return TextEncoder(cfg)


def encode_texts(cfg: dict[str, Any], model: TextEncoder, texts: Corpus) -> EmbeddingCache:
    """Encode every text that is not in the embedding cache yet."""
    from sae_kedro.activations.cache import EmbeddingCache

    cache = EmbeddingCache.open(cfg, texts, model)
    cache.fill()
    return cache


def buffer_activations(cfg: dict[str, Any], embeddings: EmbeddingCache) -> ActivationsStoreSBERT:
    """Put the shuffling buffer in front of the embeddings."""
    from sae_kedro.activations.store import ActivationsStoreSBERT

    return ActivationsStoreSBERT.from_cache(embeddings, cfg)

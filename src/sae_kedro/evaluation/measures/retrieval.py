"""Whether queries find the documents that answer them."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from sae_kedro.activations.listed import embed_texts
from sae_kedro.activations.store import ActivationsStoreSBERT
from sae_kedro.evaluation.bootstrap import means_with_intervals
from sae_kedro.evaluation.meanings import Meaning
from sae_kedro.evaluation.representations import SPACES, represent
from sae_kedro.evaluation.retrieval import ndcg
from sae_kedro.evaluation.text_sets import RetrievalSet, check_model_named, read_retrieval
from sae_kedro.sae.base import SAE

KEY = "retrieval_path"
MEANINGS = {
    "ndcg_at_10": Meaning(
        "Retrieval (nDCG at 10)",
        "Whether the ten documents nearest to a query answer it, best first: 1 is the best order there is.",
        headline=True,
        better="higher",
    ),
    "retrieval_n_queries": Meaning("Queries", "Queries that were asked."),
    "retrieval_n_documents": Meaning("Documents", "Documents that were searched."),
}


def check(cfg: dict[str, Any]) -> None:
    """Make sure that queries, documents and judgements can be read.

    Raises:
        InputError: They cannot, or no model is known that encodes them.
    """
    check_model_named(cfg, KEY)
    read_retrieval(cfg[KEY])


def measure(sae: SAE, store: ActivationsStoreSBERT, cfg: dict[str, Any]) -> dict[str, Any]:
    """Search the documents that the configuration names."""
    found = read_retrieval(cfg[KEY])
    texts = [*found.queries.values(), *found.documents.values()]
    return retrieval(sae, embed_texts("retrieval", texts, cfg, store.cache.encoder.for_texts()), found)


def retrieval(sae: SAE, embeddings: Tensor, found: RetrievalSet) -> dict[str, Any]:
    """Rank documents for each query by cosine: `ndcg_at_10_*`, means over queries.

    Args:
        sae: A trained SAE.
        embeddings: `(n_queries + n_documents, act_size)`: the queries, then the documents.
        found: Where they come from.
    """
    texts, n = represent(sae, embeddings), len(found.queries)
    ids = list(found.queries), list(found.documents)
    gains = {}
    for space in SPACES:
        x = getattr(texts, space)
        gains[f"ndcg_at_10_{space}"] = ndcg(x[:n], x[n:], *ids, found.relevance)
    return {"retrieval_n_queries": n, "retrieval_n_documents": len(found.documents)} | means_with_intervals(gains)

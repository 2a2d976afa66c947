"""How well queries find the documents that answer them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from sae_kedro.evaluation.representations import Matrix, dot_products, unit_rows

CUTOFF = 10
_QUERIES = 64


def ndcg(
    queries: Matrix,
    documents: Matrix,
    query_ids: Sequence[str],
    document_ids: Sequence[str],
    relevance: Mapping[str, Mapping[str, int]],
    cutoff: int = CUTOFF,
) -> NDArray[np.float64]:
    """Rank documents by cosine and return each query's normalised discounted cumulative gain, as BEIR computes it.

    DCG is the sum over ranks i of relevance / log2(i + 1) (Järvelin and Kekäläinen 2002); the ideal ranking has 1.
    A document whose id is that of the query is not ranked.

    Args:
        queries: `(n_queries, width)`.
        documents: `(n_documents, width)`.
        query_ids: An id for each query.
        document_ids: An id for each document.
        relevance: By query id, positive whole numbers by document id; documents not named have 0.
        cutoff: Ranks that count.

    Returns:
        `(n_queries,)`, from 0 to 1; 0 for a query without a relevant document.
    """
    queries, documents = unit_rows(queries), unit_rows(documents)
    row_of = {name: row for row, name in enumerate(document_ids)}
    shown = min(cutoff, len(document_ids))
    discounts = 1 / np.log2(np.arange(2, cutoff + 2))
    gains = np.zeros(len(query_ids))
    for start in range(0, len(query_ids), _QUERIES):
        scores = dot_products(queries[start : start + _QUERIES], documents)
        for query, score in enumerate(scores, start=start):
            judged = relevance.get(query_ids[query], {})
            if query_ids[query] in row_of:
                score[row_of[query_ids[query]]] = -np.inf
            best = np.argpartition(-score, shown - 1)[:shown]
            best = best[np.argsort(-score[best], kind="stable")]
            found = np.array([judged.get(document_ids[row], 0) for row in best if score[row] > -np.inf])
            ideal = np.sort(list(judged.values()))[::-1][:cutoff]
            if len(ideal) and len(found):
                gains[query] = found @ discounts[: len(found)] / (ideal @ discounts[: len(ideal)])
    return gains

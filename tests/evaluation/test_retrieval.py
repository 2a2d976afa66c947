from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import sparse

from sae_kedro.evaluation.retrieval import ndcg


def at_angles(*degrees):
    radians = np.deg2rad(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)


DOCUMENTS = at_angles(20, 5, 40, 90)
IDS = ["d1", "d2", "d3", "d4"]


@pytest.mark.parametrize("as_matrix", [np.asarray, lambda x: sparse.csr_array(np.abs(x))])
def test_ndcg_by_hand(as_matrix):
    # ranking for the angle 0: d2 d1 d3 d4; relevance d1 2, d3 1: (2 / log2 3 + 1 / log2 4) / (2 / log2 2 + 1 / log2 3)
    gain = ndcg(as_matrix(at_angles(0)), as_matrix(DOCUMENTS), ["q"], IDS, {"q": {"d1": 2, "d3": 1}})
    assert gain == pytest.approx([(2 / math.log2(3) + 1 / 2) / (2 + 1 / math.log2(3))])


def test_cutoff_unjudged_queries_and_a_document_that_is_the_query():
    queries = at_angles(0, 90, 5)
    relevance = {"q": {"d1": 1}, "d2": {"d1": 1, "gone": 1}}
    assert ndcg(queries, DOCUMENTS, ["q", "none", "d2"], IDS, relevance, cutoff=1).tolist() == [0, 0, 1]
    # d2 is not ranked for itself: d1 is first; the ideal has two documents, one of which does not exist
    expected = [1 / math.log2(3), 0, 1 / (1 + 1 / math.log2(3))]
    assert ndcg(queries, DOCUMENTS, ["q", "none", "d2"], IDS, relevance) == pytest.approx(expected)


def test_many_queries_equal_plain_sorting():
    rng = np.random.default_rng(0)
    queries, documents = rng.normal(size=(150, 8)), rng.normal(size=(40, 8))
    names, ids = [f"q{i}" for i in range(150)], [f"d{i}" for i in range(40)]
    relevance = {name: {ids[i]: int(rng.integers(1, 3)) for i in rng.integers(40, size=4)} for name in names}
    expected = []
    for name, query in zip(names, queries, strict=True):
        order = np.argsort(-(documents @ query) / np.linalg.norm(documents, axis=1))[:10]
        gains = [relevance[name].get(ids[row], 0) / math.log2(rank + 2) for rank, row in enumerate(order)]
        best = sorted(relevance[name].values(), reverse=True)
        expected.append(sum(gains) / sum(value / math.log2(rank + 2) for rank, value in enumerate(best)))
    assert ndcg(queries, documents, names, ids, relevance) == pytest.approx(expected)

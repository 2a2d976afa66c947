"""Steering: edits by hand, their shares, and rankings of a corpus."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sae_kedro import ActivationsStoreSBERT, InputError, fit
from sae_kedro.activations import ready
from sae_kedro.interpretation.neighbours import Rows, neighbours
from sae_kedro.interpretation.parts import Sum, decompose
from sae_kedro.interpretation.steer import edit, steer
from sae_kedro.sae.topk import TopKSAE


@pytest.fixture
def plain():
    """Three latents along the axes, and a query that has .6 of the first and .8 of the second."""
    sae = TopKSAE({"act_size": 3, "dict_size": 3, "top_k": 2, "sae_type": "topk"})
    sae.W_dec.data = torch.eye(3)
    x = np.array([0.6, 0.8, 0.0])
    return sae, Sum(x, x, np.zeros(3), np.zeros(3))


def test_a_latent_is_switched_off_and_the_rest_is_brought_back_to_norm_one(plain):
    found = edit(*plain, {0: 0})
    assert found.after == pytest.approx([0, 1, 0]) and found.length == pytest.approx(0.8)
    assert found.terms(np.array([0.0, 1, 0])) == pytest.approx({0: 0.2})  # from .8 to 1
    assert found.terms(np.array([1.0, 0, 0])) == pytest.approx({0: -0.6})  # from .6 to 0
    assert found.terms(np.array([0.0, 0, 5])) == pytest.approx({0: 0})


def test_a_silent_latent_is_added_in_units_of_what_the_query_has(plain):
    found = edit(*plain, {0: 0, 2: 2})  # .7 is the mean of .6 and .8
    length = (0.8**2 + 0.7**2) ** 0.5
    assert found.after == pytest.approx([0, 0.8 / length, 0.7 / length])
    assert found.terms(np.array([0.0, 0, 1])) == pytest.approx({0: 0, 2: 0.7 / length})
    assert edit(*plain, {2: 3}).after == pytest.approx(np.array([0.6, 0.8, 1.4]) / (1 + 1.4**2) ** 0.5)
    for factor in (1, 0.5, 0, -1):
        assert edit(*plain, {2: factor}).after == pytest.approx([0.6, 0.8, 0])
    assert edit(*plain, {0: -1}).after == pytest.approx([-0.6, 0.8, 0])


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(0).standard_normal((180, 12)).astype(np.float32) + 0.3


@pytest.fixture(
    scope="module", params=[{}, {"input_unit_norm": True}, {"sae_type": "jumprelu"}, {"sae_type": "vanilla"}]
)
def sae(request, x):
    return fit(x, dict_size=24, top_k=4, n_epochs=1, device="cpu", **request.param)


@pytest.fixture
def store(x, make_cfg, monkeypatch):
    """A corpus of four blocks."""
    monkeypatch.setattr(ready, "SHARD_SIZE", 50)
    return ActivationsStoreSBERT.from_embeddings(x, make_cfg(act_size=12), [f"text {i}" for i in range(len(x))])


def test_shares_add_up_to_the_change_and_the_ranking_is_that_of_the_edited_query(sae, store, x):
    query = decompose(sae, x[[7]])
    first, second, *_ = np.argsort(-query.weights).tolist()
    silent = int(np.flatnonzero(query.weights == 0)[0])
    factors = {first: 0.0, second: 2.5, silent: 3.0}
    found = steer(sae, store, 7, factors, n=20)

    usual = query.weights[query.weights != 0].mean()
    amounts = {first: -query.weights[first], second: 1.5 * query.weights[second], silent: 2 * usual}
    edited = query.total + sum(by * sae.W_dec[latent].detach().numpy() for latent, by in amounts.items())
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    before, after = unit @ query.total, unit @ edited / np.linalg.norm(edited)
    order = [row for row in np.argsort(-after, kind="stable") if row != 7]
    ranks = [row for row in np.argsort(-before, kind="stable") if row != 7]
    assert [hit.row for hit in found.after] == order[:20]
    assert [row.number for row in found.before] == ranks[:20]
    for hit in found.after:
        assert hit.text == f"text {hit.row}" and hit.score == pytest.approx(after[hit.row], abs=1e-6)
        assert hit.rank_before == ranks.index(hit.row) + 1
        assert hit.terms.keys() == factors.keys()
        assert sum(hit.terms.values()) == pytest.approx(after[hit.row] - before[hit.row], abs=1e-6)
    moved = edit(sae, query, factors)
    change = (after - before)[ranks[:20]].mean()
    assert sum(found.usual.values()) == pytest.approx(change, abs=1e-6)
    for row in range(20):
        exact = (moved.after - moved.before) @ x[row].astype(np.float64) / np.linalg.norm(x[row].astype(np.float64))
        assert sum(moved.terms(x[row].astype(np.float64)).values()) == pytest.approx(exact, abs=1e-12)


def test_without_an_edit_nothing_moves(sae, store):
    found = steer(sae, store, 3, {5: 1}, n=180)
    assert [hit.row for hit in found.after] == [row.number for row in found.before] and len(found.after) == 179
    assert [hit.rank_before for hit in found.after] == list(range(1, 180))


def test_rows_that_stay_in_memory_are_the_same_rows(store, x, monkeypatch):
    once, kept, some = Rows(store), Rows(store, 2**20), Rows(store, 3000)
    like = torch.from_numpy(x[3])
    found = [neighbours(rows, like, 5, 3) for rows in (once, kept, some) for _ in range(2)]
    told = [[(row.number, row.text, row.cosine) for row in each] for each in found]
    assert all(each == told[0] for each in told) and told[0][0][0] != 3
    assert [row.number for row in neighbours(kept, like, 5, "text 3")] == [row[0] for row in told[0]]
    monkeypatch.setattr(store.cache, "read", None)  # nothing is read again
    assert kept[179].text == "text 179" and torch.equal(kept[120].vector, torch.from_numpy(x[120]))
    assert len(neighbours(kept, like, 1000)) == 180


def test_equal_rows_come_in_their_order(make_cfg):
    x = np.repeat(np.eye(2, 4, dtype=np.float32), 10, axis=0)
    rows = Rows(ActivationsStoreSBERT.from_embeddings(x, make_cfg(act_size=4)))
    assert [row.number for row in neighbours(rows, torch.eye(4)[1], 13)] == [*range(10, 20), 0, 1, 2]


@pytest.mark.parametrize(
    ("factors", "sentence"),
    [
        ({24: 0}, "latent=24 does not exist; latents are 0 to 23"),
        ({-1: 0}, "latent=-1 does not exist"),
        ({0: float("nan")}, "latent 0 cannot be multiplied by nan; give a number"),
        ({0: float("inf")}, "latent 0 cannot be multiplied by inf"),
    ],
)
def test_bad_factors_are_told(sae, x, factors, sentence):
    with pytest.raises(InputError, match=sentence):
        edit(sae, decompose(sae, x[[0]]), factors)


def test_a_query_of_which_nothing_is_left_is_told(plain):
    with pytest.raises(InputError, match="these factors leave nothing of the query"):
        edit(*plain, {0: 0, 1: 0})
    silent = Sum(plain[1].total, np.zeros(3), np.zeros(3), plain[1].total)
    with pytest.raises(InputError, match="no latent fires on this query"):
        edit(plain[0], silent, {1: 2})
    assert edit(plain[0], silent, {1: 0}).after == pytest.approx(plain[1].total)

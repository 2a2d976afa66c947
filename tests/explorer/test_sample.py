"""Which texts a page holds, and what it tells of all of them."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from sae_kedro.explorer import layout as map_of_features
from sae_kedro.explorer.layout import layout
from sae_kedro.explorer.sample import BINS, by_decile, decile_bounds, histograms, near_misses


def test_strongest_texts_come_first_then_deciles_then_chance():
    table = pd.DataFrame({"top_rows": [[7, 5, 3, 1], []], "decile_rows": [[5, 0], []]})
    order = by_decile(table, 10)
    assert sorted(order) == list(range(10))
    assert order[:5].tolist() == [7, 5, 3, 0, 1]
    assert order.tolist() == by_decile(table, 10).tolist()
    assert order[5:].tolist() != sorted(order[5:])


def test_histogram_counts_all_texts():
    codes = sparse.csr_array(np.array([[4.0, 0], [2.0, 0], [0.01, 1.0]]))
    found = histograms(codes, np.array([4.0, 1.0])).reshape(2, BINS)
    assert found.sum(axis=1).tolist() == [3, 1]
    assert found[0, [0, BINS // 2 - 1, BINS - 1]].sum() >= 2 and found[1, -1] == 1


def test_deciles_end_where_a_tenth_of_the_texts_is_stronger():
    values = np.arange(1, 101, dtype=float)
    bounds = decile_bounds(sparse.csr_array(values[:, None]), np.array([100.0]))
    assert bounds.tolist() == [round(255 * (100 - 10 * i + 1) / 100) for i in range(1, 10)]


def test_a_near_miss_is_the_nearest_text_on_which_a_latent_is_silent():
    vectors = np.array([[1, 0], [0.9, 0.1], [0.8, 0.3], [-1, 0], [-0.9, -0.4], [-0.8, 0]], dtype=float)
    codes = sparse.csr_array(np.array([[1.0, 0], [0, 0], [0, 0], [0, 0], [0, 0], [0, 0]]))
    found = near_misses(codes, vectors, np.array([[1.0, 0], [-1.0, 0]]))
    assert found[0].tolist() == [1, 2, -1, -1, -1]  # not 0, on which it fires, nor what points elsewhere
    assert set(found[1][:3].tolist()) == {3, 4, 5}


@pytest.mark.parametrize("n", [1, 4, 40])
def test_the_map_is_the_same_every_time(n):
    directions = np.random.default_rng(0).normal(size=(n, 8)).astype(np.float32)
    places = layout(directions, np.ones(n))
    assert places.shape == (n, 2)
    assert ((places >= 0) & (places <= 1)).all()
    assert np.array_equal(places, layout(directions, np.ones(n)))


def test_features_beyond_those_of_the_map_lie_by_their_nearest(monkeypatch):
    monkeypatch.setattr(map_of_features, "MOST", 20)
    directions = np.random.default_rng(0).normal(size=(21, 30)).astype(np.float32)
    directions[20] = directions[7]
    places = layout(directions, np.arange(21)[::-1])
    apart = np.linalg.norm(places[:20] - places[20], axis=1)
    assert apart.argmin() == 7 and apart[7] < 0.1

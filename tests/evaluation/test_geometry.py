from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import sparse

from sae_kedro.evaluation.geometry import (
    geometry,
    nearest_neighbours,
    neighbours_kept,
    sample_pairs,
    similarity_interval,
    similarity_kept,
)
from sae_kedro.evaluation.representations import Representations, cosines
from sae_kedro.evaluation.sample import RowSample
from sae_kedro.sae.codes import Codes, Support


def at_angles(*degrees, length=1.0):
    radians = np.deg2rad(degrees)
    return (length * np.stack([np.cos(radians), np.sin(radians)], axis=1)).astype(np.float32)


BEFORE, AFTER = at_angles(0, 10, 40, 100), at_angles(0, 10, 40, 22)


def test_similarity_kept_by_hand():
    # angles between the pairs 01 02 03 12 13 23: 10 40 100 30 90 60 before, 10 40 22 30 12 18 after;
    # ranks 1 3 6 2 5 4 and 1 6 4 5 2 3, squared differences 0 9 4 9 9 1: 1 - 6 * 32 / (6 * 35)
    pairs = sample_pairs(4, 100)
    assert pairs.tolist() == [[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]]
    assert similarity_kept(BEFORE, AFTER, pairs) == pytest.approx(1 - 6 * 32 / 210)


@pytest.mark.parametrize(("n_neighbours", "kept"), [(1, [1, 1, 0, 0]), (2, [0.5, 0.5, 0.5, 1]), (10, [1, 1, 1, 1])])
def test_neighbours_kept_by_hand(n_neighbours, kept):
    # nearest two: before 0: 1 2, 1: 0 2, 2: 1 0, 3: 2 1; after 0: 1 3, 1: 0 3, 2: 3 1, 3: 1 2
    assert neighbours_kept(BEFORE, AFTER, n_neighbours).tolist() == kept


def test_lengths_do_not_matter_and_a_rotation_keeps_everything():
    other = at_angles(50, 60, 90, 150, length=1.0) * np.array([[1.0], [7.0], [0.1], [3.0]], dtype=np.float32)
    assert similarity_kept(BEFORE, other, sample_pairs(4, 100)) == pytest.approx(1)
    assert neighbours_kept(BEFORE, other, 1).tolist() == [1, 1, 1, 1]


def test_sparse_codes_give_what_dense_ones_give():
    rng = np.random.default_rng(0)
    dense = (rng.random((600, 40)) * (rng.random((600, 40)) < 0.2)).astype(np.float32)
    dense[3] = 0  # a text without active latents is close to none
    codes, pairs = sparse.csr_array(dense), sample_pairs(600, 5000)
    np.testing.assert_allclose(cosines(codes[pairs[:, 0]], codes[pairs[:, 1]]), plain_cosines(dense, pairs), atol=1e-6)
    assert similarity_kept(dense, codes, pairs) == pytest.approx(1, abs=1e-4)
    similarity = plain_cosines(dense, np.stack(np.divmod(np.arange(600 * 600), 600), axis=1)).reshape(600, 600)
    np.fill_diagonal(similarity, -np.inf)
    for row, found in enumerate(nearest_neighbours(codes, 5)):
        assert np.sort(similarity[row, found]) == pytest.approx(np.sort(similarity[row])[-5:], abs=1e-6)


def test_the_interval_of_similarity_kept_is_that_of_plain_resampling():
    x, noise = np.random.default_rng(1).normal(size=(2, 30, 5)).astype(np.float32)
    codes = np.maximum(x + 0.3 * noise, 0)  # some pairs share no latent: ties
    pairs, drawn = sample_pairs(30, 200), np.random.default_rng(7)
    plain = []
    for _ in range(1000):
        counts = np.bincount(drawn.integers(30, size=30), minlength=30)
        plain.append(similarity_kept(x, codes, np.repeat(pairs, counts[pairs].prod(axis=1), axis=0)))
    expected = np.percentile(plain, [2.5, 97.5]).tolist()
    assert similarity_interval(x, codes, pairs, seed=7) == pytest.approx(expected)
    assert expected[0] < similarity_kept(x, codes, pairs) < expected[1]
    assert all(map(math.isnan, similarity_interval(BEFORE[:2], AFTER[:2], np.array([[0, 1]]))))


def plain_cosines(x, pairs):
    a, b = x[pairs[:, 0]].astype(np.float64), x[pairs[:, 1]].astype(np.float64)
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return (a * b).sum(1) / np.where(norms == 0, 1, norms)


def test_pairs_are_fixed_and_never_of_a_text_with_itself():
    pairs = sample_pairs(50, 1000)
    assert pairs.shape == (1000, 2) and (pairs[:, 0] != pairs[:, 1]).all() and pairs.max() == 49
    assert (sample_pairs(50, 1000) == pairs).all()


def test_geometry_counts_copies_once_and_names_both_spaces():
    metrics = geometry(Representations(BEFORE, AFTER, sparse.csr_array(BEFORE)))
    assert metrics["similarity_kept_reconstruction"] == pytest.approx(1 - 6 * 32 / 210)
    assert metrics["similarity_kept_codes"] == pytest.approx(1)
    before, after = np.random.default_rng(0).normal(size=(2, 15, 4)).astype(np.float32)
    once = geometry(Representations(before, after, sparse.csr_array(before)))
    twice = [np.repeat(x, 2, axis=0) for x in (before, after)]
    assert once["neighbours_kept_reconstruction"] < 1
    assert once["neighbours_kept_codes"] == 1 and once["neighbours_kept_codes_ci95"] == [1, 1]
    assert geometry(Representations(*twice, sparse.csr_array(twice[0]))) == once
    assert geometry(Representations(BEFORE[:2], AFTER[:2], sparse.csr_array(BEFORE[:2]))) == {}


@pytest.mark.parametrize(("n", "told"), [(11, False), (12, True)])
def test_neighbours_that_nobody_could_miss_are_not_counted(n, told):
    x = np.random.default_rng(0).normal(size=(n, 4)).astype(np.float32)
    metrics = geometry(Representations(x, x, sparse.csr_array(x)))
    assert ("neighbours_kept_codes" in metrics) == ("neighbours_kept_reconstruction_ci95" in metrics) == told
    assert metrics["similarity_kept_codes"] == pytest.approx(1)


def test_a_space_in_which_all_are_alike_has_no_rank_correlation():
    assert math.isnan(similarity_kept(BEFORE, np.ones((4, 2)), sample_pairs(4, 100)))


def test_sparse_and_dense_supports_become_the_same_csr_array():
    dense = torch.tensor([[0.0, -2.0, 0.0], [1.0, 0.0, 3.0]])
    indices = torch.tensor([[2, 1], [0, 2]])  # unsorted, with an entry of 0
    support = Support.from_indices(indices, 3)
    for codes in (Codes(Support.dense(dense), dense), Codes(support, support.gather(dense))):
        matrix = codes.to_csr()
        assert matrix.toarray().tolist() == dense.tolist() and matrix.nnz == 3


@pytest.mark.parametrize("size", [1, 7, 100])
def test_a_sample_is_uniform_in_order_and_the_same_for_every_batch_size(size):
    sample, whole = RowSample(10), RowSample(10)
    rows = torch.arange(100.0).unsqueeze(1)
    whole.update(rows)
    for batch in rows.split(size):
        sample.update(batch)
    found = sample.rows().squeeze(1)
    assert torch.equal(found, whole.rows().squeeze(1)) and torch.equal(found, found.sort().values)
    assert len(set(found.tolist())) == 10 and found.max() > 50


def test_every_row_is_sampled_equally_often():
    counts = torch.zeros(20)
    for seed in range(2000):
        sample = RowSample(5, seed)
        for batch in torch.arange(20).unsqueeze(1).split(3):
            sample.update(batch)
        counts[sample.rows().squeeze(1)] += 1
    assert counts.sum() == 10_000 and (counts - 500).abs().max() < 5 * 500**0.5

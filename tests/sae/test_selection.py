"""The fast ways of selecting find exactly what the slow ones find."""

from __future__ import annotations

import pytest
import torch

from sae_kedro.sae.codes import Support, _stable_order, true_positions
from sae_kedro.sae.selection import largest_of_batch, largest_of_rows, level_of_sample


@pytest.mark.parametrize("k", [1, 3, 16, 64])
@pytest.mark.parametrize("width", [64, 100, 2048, 6144])
def test_largest_of_rows_is_what_topk_finds(width, k):
    scores = torch.randn(37, width, generator=torch.Generator().manual_seed(k))
    scores[5] *= 1000
    scores[6] = scores[6].sort().values  # the largest stand side by side
    found = largest_of_rows(scores, k)
    assert found.shape == (37, k)
    torch.testing.assert_close(found.sort().values, scores.topk(k).indices.sort().values)


def test_largest_of_rows_never_repeats_an_index_where_values_tie():
    scores = torch.zeros(4, 4096)
    scores[1, ::2] = 1.0
    scores[2] = -torch.inf
    scores[3, 4000:] = 1.0
    found = largest_of_rows(scores, 8)
    assert all(len(set(row.tolist())) == 8 for row in found)
    assert (scores.gather(1, found)[[1, 3]] == 1).all()


def test_the_level_of_a_sample_lets_a_quarter_more_through_and_is_never_negative():
    scores = torch.randn(64, 1000, generator=torch.Generator().manual_seed(0))
    level = level_of_sample(scores, 30.0)
    assert int((scores >= level).sum()) == 1.25 * 30 * 64 + 64
    assert level_of_sample(-scores.abs(), 30.0) == 0
    few = scores[:1, :10].abs()
    assert level_of_sample(few, 30.0) == few.min()


def test_the_largest_of_a_batch_are_found_where_the_rows_looked_at_first_mislead():
    scores = torch.rand(1280, 50, generator=torch.Generator().manual_seed(0))
    scores[::20] += 10  # these 64 rows alone set the level; what is asked for lies below it, too
    n = 4 * 1280
    expected = scores.flatten().topk(n).indices.sort().values
    support = largest_of_batch(scores, n)
    torch.testing.assert_close(support.rows * 50 + support.indices, expected)


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (16, 64), (7, 129), (0, 8)])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 1.0])
def test_true_positions_are_those_of_nonzero(shape, share):
    mask = torch.rand(shape, generator=torch.Generator().manual_seed(1)) < share
    torch.testing.assert_close(true_positions(mask), mask.reshape(-1).nonzero().squeeze(1))
    torch.testing.assert_close(true_positions(mask.t()), mask.t().reshape(-1).nonzero().squeeze(1))


@pytest.mark.parametrize("n_values", [10, 2**16, 2**16 + 1])
def test_entries_are_ordered_by_latent_and_within_it_by_text(n_values):
    indices = torch.randint(0, n_values, (5000,), generator=torch.Generator().manual_seed(0))
    indices[:2] = n_values - 1
    torch.testing.assert_close(_stable_order(indices, n_values), torch.argsort(indices, stable=True))


def test_a_mask_becomes_the_support_of_its_entries():
    mask = torch.zeros(70, 16, dtype=torch.bool)
    mask[3, 5] = mask[3, 1] = mask[69, 15] = True
    support = Support.from_mask(mask)
    assert support.indices.tolist() == [1, 5, 15] and support.rows.tolist() == [3, 3, 69]
    assert support.offsets.tolist() == [0] * 4 + [2] * 66 + [3]
    everything = Support.from_mask(torch.ones(70, 16, dtype=torch.bool))
    assert everything.is_dense and everything.shape == (70, 16)


def test_a_restricted_support_keeps_all_rows_the_empty_ones_too():
    support = Support.from_positions(torch.tensor([1, 3, 6]), (5, 3)).restrict(torch.tensor([True, False, True]))
    assert support.shape == (5, 3) and support.indices.tolist() == [1, 0]
    assert support.offsets.tolist() == [0, 1, 1, 2, 2, 2]

"""The fast ways of selecting find exactly what the slow ones find."""

from __future__ import annotations

import pytest
import torch

from sae_kedro.sae.codes import Support, _stable_order, true_positions
from sae_kedro.sae.selection import largest_of_rows


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
    assert Support.from_mask(torch.ones(70, 16, dtype=torch.bool)).is_dense

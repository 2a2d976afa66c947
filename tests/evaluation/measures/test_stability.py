from __future__ import annotations

import pytest
import torch

from sae_kedro.evaluation.measures.stability import feature_stability


def test_shared_features_by_hand():
    # cosines with the closest row of b: 1, 0.8, 0.6
    a = torch.tensor([[2.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 2.0]])
    b = torch.tensor([[5.0, 0.0, 0.0], [0.0, 0.8, 0.6]])
    assert feature_stability(a, b) == pytest.approx(2 / 3)
    assert feature_stability(a, b, threshold=0.9) == pytest.approx(1 / 3)
    assert feature_stability(b, a) == 1  # both rows of b are found among those of a


def test_chunks_a_permutation_and_the_opposite_direction():
    rows = torch.randn(50, 8, generator=torch.Generator().manual_seed(0))
    shuffled = rows[torch.randperm(50, generator=torch.Generator().manual_seed(1))]
    assert feature_stability(rows, shuffled, threshold=0.999, chunk=7) == 1
    assert feature_stability(rows[:1], -rows[:1]) == 0
    assert feature_stability(torch.zeros(2, 8), rows) == 0  # a row without a direction is found nowhere

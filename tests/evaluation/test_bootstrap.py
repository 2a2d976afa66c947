from __future__ import annotations

import math

import numpy as np
import pytest

from sae_kedro.evaluation.bootstrap import mean_intervals, ratio_intervals, statistic_interval


def test_two_texts_by_hand():
    # resamples of (0, 1) have mean 0, 1/2 or 1 with probability 1/4, 1/2, 1/4: the outer ones exceed 2.5 %
    assert mean_intervals({"a": np.array([0.0, 1.0])}) == {"a": [0.0, 1.0]}


def test_one_text_leaves_no_doubt_and_none_no_interval():
    assert ratio_intervals({"a": (np.array([3.0]), np.array([4.0]))}) == {"a": [0.75, 0.75]}
    assert all(map(math.isnan, mean_intervals({"a": np.empty(0)})["a"]))
    assert ratio_intervals({}) == {}


def test_numerator_and_denominator_of_a_text_are_drawn_together():
    variance = np.array([1.0, 100.0, 3.0, 0.1])
    low, high = ratio_intervals({"fvu": (0.25 * variance, variance)})["fvu"]
    assert low == pytest.approx(0.25) and high == pytest.approx(0.25)


def test_a_ratio_of_sums_equals_plain_resampling():
    rng = np.random.default_rng(3)
    up, down = rng.random(50), 1 + rng.random(50)
    drawn = np.random.default_rng(7)
    plain = [up[rows].sum() / down[rows].sum() for rows in (drawn.integers(50, size=50) for _ in range(1000))]
    expected = np.percentile(plain, [2.5, 97.5])
    assert ratio_intervals({"a": (up, down)}, seed=7)["a"] == pytest.approx(expected.tolist())
    ratio = statistic_interval(lambda a, b: float(a.sum() / b.sum()), up, down, seed=7)
    assert ratio == pytest.approx(expected.tolist())


def test_the_interval_of_a_mean_is_that_of_the_normal_law():
    values = np.random.default_rng(0).normal(5.0, 2.0, size=400)
    low, high = mean_intervals({"a": values})["a"]
    half = 1.96 * values.std() / 20
    assert low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert high == pytest.approx(values.mean() + half, abs=0.1 * half)

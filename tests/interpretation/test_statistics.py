from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import sparse, stats

from sae_kedro.interpretation.statistics import (
    RankedCodes,
    benjamini_hochberg,
    log10_p,
    odds_ratio,
    p_value,
    ranks_within,
    rate_difference,
    skew_corrected,
)


@pytest.fixture
def sparse_codes():
    """60 rows of 5 latents with ties and many zeros; the last has negative codes, too."""
    x = np.random.default_rng(0).normal(size=(60, 5)).round(1)
    x[:, :4] = np.maximum(x[:, :4], 0)
    x[np.abs(x) < 0.3] = 0
    return x


def _uncorrected(ranked, scores):
    """z by the normal law."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sae_kedro.interpretation.statistics.skew_corrected", lambda z, skewness: z)
        return ranked.test(scores).z


def test_one_stratum_is_the_test_of_mann_and_whitney(sparse_codes):
    group = np.random.default_rng(1).random(60) < 0.4
    ranked = RankedCodes(sparse.csr_array(sparse_codes), np.zeros(60, np.int64))
    members = group[:, None].astype(float)
    z = _uncorrected(ranked, members)[0]
    auc = ranked.auc(members, ranked.test(members).statistic)[0]
    for latent in range(5):
        a, b = sparse_codes[group, latent], sparse_codes[~group, latent]
        plain = stats.mannwhitneyu(a, b, method="asymptotic", use_continuity=False)
        assert p_value(z[latent]) == pytest.approx(plain.pvalue, rel=1e-9)
        assert auc[latent] == pytest.approx(plain.statistic / (len(a) * len(b)))


def test_strata_are_added_as_van_elteren_does(sparse_codes):
    rng = np.random.default_rng(2)
    group, strata = rng.random(60) < 0.5, rng.integers(3, size=60)
    z = _uncorrected(RankedCodes(sparse.csr_array(sparse_codes), strata), group[:, None].astype(float))[0]
    for latent in range(5):
        total = variance = 0.0
        for stratum in range(3):
            values, inside = sparse_codes[strata == stratum, latent], group[strata == stratum]
            n, n_a, ranks = len(values), inside.sum(), stats.rankdata(values)
            ties = sum(t**3 - t for t in np.unique(values, return_counts=True)[1].tolist()) / (n * (n - 1))
            total += (ranks[inside].sum() - n_a * (n + 1) / 2) / (n + 1)
            variance += n_a * (n - n_a) / 12 * (n + 1 - ties) / (n + 1) ** 2
        assert z[latent] == pytest.approx(total / math.sqrt(variance), rel=1e-9)


def test_ranks_of_a_number_give_spearman(sparse_codes):
    number = np.random.default_rng(3).normal(size=60).round(1)
    one = np.zeros(60, np.int64)
    z = _uncorrected(RankedCodes(sparse.csr_array(sparse_codes), one), ranks_within(number, one)[:, None])[0]
    expected = [stats.spearmanr(sparse_codes[:, latent], number).statistic * math.sqrt(59) for latent in range(5)]
    assert z.tolist() == pytest.approx(expected, rel=1e-9)


def test_mean_variance_and_skewness_are_those_of_all_permutations(monkeypatch):
    codes, scores = np.array([0, 0, 0.3, 1.0, 2.0, 0]), np.array([1.0, 0, 0, 0, 1.0, 0])
    strata = np.array([0, 0, 0, 0, 0, 1])  # a stratum of one says nothing
    seen = {}

    def watch(z, skewness):
        seen.update(z=z[0, 0], skewness=skewness[0, 0])
        return z

    monkeypatch.setattr("sae_kedro.interpretation.statistics.skew_corrected", watch)
    statistic = RankedCodes(sparse.csr_array(codes[:, None]), strata).test(scores[:, None]).statistic[0, 0]
    ranks = (stats.rankdata(codes[:5]) - 3) / 6
    all_of_them = np.array([ranks @ scores[list(order)] for order in itertools.permutations(range(5))])
    assert statistic == pytest.approx(ranks @ scores[:5])
    assert seen["z"] == pytest.approx(statistic / all_of_them.std())
    assert seen["skewness"] == pytest.approx(stats.skew(all_of_them))


def test_the_tail_is_that_of_the_gamma_law():
    for skewness, z in itertools.product([0.1, 0.5, 1.0, 2.0], [2.0, 4.0, 8.0, 30.0]):
        corrected = skew_corrected(np.array([z, -z, -z]), np.array([skewness, -skewness, skewness]))
        one_sided = p_value(corrected) / 2
        assert one_sided[0] == pytest.approx(stats.pearson3.sf(z, skewness), rel=0.07)
        assert one_sided[1] == one_sided[0] and corrected[1] == -corrected[0]
        assert corrected[2] == -z  # the lighter tail
    assert skew_corrected(np.array([3.0, 0.0]), np.array([0.0, 2.0])).tolist() == [3.0, 0.0]


def test_chance_hits_of_a_rare_latent_in_a_rare_group_are_no_discovery():
    # 2 of 15 hits fall on a group of 100 in 15,000: the hypergeometric law gives p = .0043, the normal one 1e-9
    codes, group = np.zeros((15_000, 1)), np.zeros((15_000, 1))
    group[:100], codes[98:113] = 1, 1
    ranked = RankedCodes(sparse.csr_array(codes), np.zeros(15_000, np.int64))
    assert stats.hypergeom.sf(1, 15_000, 100, 15) == pytest.approx(0.0043, abs=1e-4)
    assert 0.002 < p_value(ranked.test(group).z[0, 0]) < 0.02
    assert p_value(_uncorrected(ranked, group)[0, 0]) < 1e-8


def test_a_latent_that_never_varies_has_no_z():
    codes = np.zeros((20, 3))
    codes[:, 1], codes[:10, 2] = 0.7, 1
    strata = np.repeat([0, 1], 10)  # the third latent varies only between strata
    z = RankedCodes(sparse.csr_array(codes), strata).test(np.arange(20)[:, None] % 2.0).z
    assert z.tolist() == [[0, 0, 0]]


def test_the_probability_of_a_large_z_underflows_and_its_logarithm_does_not():
    z = np.array([1.959964, 40.0, 41.0])
    assert p_value(z)[0] == pytest.approx(0.05) and p_value(z)[1:].tolist() == [0, 0]
    assert log10_p(z)[0] == pytest.approx(math.log10(0.05), rel=1e-6)
    assert -367 < log10_p(z)[2] < log10_p(z)[1] < -349


def test_false_discovery_rates_are_those_of_benjamini_and_hochberg():
    p = np.random.default_rng(0).random((4, 25)) ** 2
    assert benjamini_hochberg(p).ravel() == pytest.approx(stats.false_discovery_control(p.ravel()))
    assert benjamini_hochberg(np.array([0.02, np.nan, 0.01, 0.9]))[[0, 2, 3]] == pytest.approx([0.03, 0.03, 0.9])
    assert np.isnan(benjamini_hochberg(np.array([0.02, np.nan]))[1])
    assert benjamini_hochberg(np.empty(0)).shape == (0,)


def test_the_interval_of_a_difference_is_newcombes():
    # his table II: 56/70 - 48/80, 9/10 - 3/10 and 0/10 - 0/10
    for a, n_a, b, n_b, low, high in [(56, 70, 48, 80, 0.0524, 0.3339), (9, 10, 3, 10, 0.1705, 0.8090)]:
        found = rate_difference(np.array([a / n_a]), n_a, np.array([b / n_b]), n_b)
        assert found.value[0] == pytest.approx(a / n_a - b / n_b)
        assert (found.low[0], found.high[0]) == pytest.approx((low, high), abs=1e-4)
    none = rate_difference(np.zeros(1), 10, np.zeros(1), 10)
    assert (none.low[0], none.high[0]) == pytest.approx((-0.2775, 0.2775), abs=1e-4)


def test_odds_within_strata_by_hand():
    # strata (a, b, c, d) = (8, 2, 4, 6) and (3, 7, 1, 9), each of 20
    found = odds_ratio(np.array([[8.0], [3]]), np.array([10.0, 10]), np.array([[4.0], [1]]), np.array([10.0, 10]))
    up, down = 48 / 20 + 27 / 20, 8 / 20 + 7 / 20
    variance = (
        (14 / 20 * 48 / 20 + 12 / 20 * 27 / 20) / (2 * up**2)
        + (14 / 20 * 8 / 20 + 6 / 20 * 48 / 20 + 12 / 20 * 7 / 20 + 8 / 20 * 27 / 20) / (2 * up * down)
        + (6 / 20 * 8 / 20 + 8 / 20 * 7 / 20) / (2 * down**2)
    )
    half = stats.norm.ppf(0.975) * math.sqrt(variance)
    assert found.value[0] == pytest.approx(up / down)
    assert (found.low[0], found.high[0]) == pytest.approx((up / down / math.exp(half), up / down * math.exp(half)))


def test_one_stratum_of_odds_has_woolfs_interval():
    found = odds_ratio(np.array([[30.0]]), np.array([50.0]), np.array([[10.0]]), np.array([60.0]))
    half = stats.norm.ppf(0.975) * math.sqrt(1 / 30 + 1 / 20 + 1 / 10 + 1 / 50)
    assert found.value[0] == pytest.approx(7.5)
    assert math.log(found.high[0] / found.low[0]) == pytest.approx(2 * half)


def test_odds_stay_finite_with_a_cell_of_zero():
    # a latent that fires on all of a and none of b, one that never fires, and one without a zero
    hits_a, hits_b = np.array([[10.0, 0, 5], [20, 0, 5]]), np.array([[0.0, 0, 5], [0, 0, 5]])
    found = odds_ratio(hits_a, np.array([10.0, 20]), hits_b, np.array([15.0, 15]))
    assert found.value[:2].tolist() == pytest.approx([30.5 * 30.5 / 0.25, 1.0])
    assert np.isfinite(np.stack(found)).all() and found.low[1] < 1 < found.high[1]
    assert found.value[2] == pytest.approx((5 * 10 / 25 + 5 * 10 / 35) / (5 * 5 / 25 + 15 * 5 / 35))

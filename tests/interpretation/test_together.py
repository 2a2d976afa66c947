import numpy as np
import pytest
from scipy import sparse, stats

from sae_kedro.interpretation.families import find_families
from sae_kedro.interpretation.together import pairs_together, together_table


def codes_of(*sets, n=100):
    dense = np.zeros((n, len(sets)), dtype=np.float32)
    for latent, texts in enumerate(sets):
        dense[list(texts), latent] = 1 + latent
    return sparse.csr_array(dense)


def test_lift_and_npmi_by_hand():
    """Of 100 texts 20 and 10 fire, 8 of them both: 4 times as often as by chance."""
    pairs = pairs_together(codes_of(range(20), range(12, 22)))
    assert (pairs.a.tolist(), pairs.b.tolist(), pairs.both.tolist()) == ([0], [1], [8])
    assert pairs.lift.tolist() == [4.0]
    assert pairs.npmi[0] == pytest.approx(np.log(4) / -np.log(0.08))
    assert pairs.q[0] == pytest.approx(stats.poisson.sf(7, 2.0))


def test_always_together_is_one_and_once_together_is_nothing():
    pairs = pairs_together(codes_of(range(10), range(10), [50], [50]))
    assert list(zip(pairs.a, pairs.b, strict=True)) == [(0, 1)]
    assert pairs.npmi[0] == pytest.approx(1)


def test_q_counts_all_pairs_of_latents_that_fire():
    """Two pairs are listed of six that four latents make; a fifth never fires."""
    sets = range(20), range(12, 22), range(40, 60), range(50, 62)
    pairs = pairs_together(codes_of(*sets, []))
    p = stats.poisson.sf(pairs.both - 1, pairs.both / pairs.lift)
    expected = stats.false_discovery_control([*p, 1, 1, 1, 1])[:2]
    np.testing.assert_allclose(pairs.q, expected)


def test_independent_latents_are_no_discovery():
    codes = sparse.random_array((4000, 60), density=0.05, rng=np.random.default_rng(0), format="csr", dtype=np.float32)
    pairs = pairs_together(codes)
    assert len(pairs.a) > 500 and (pairs.q < 0.05).sum() == 0


def test_company_is_unexpected_where_directions_are_unlike():
    pairs = pairs_together(codes_of(range(20), range(20), range(20)))
    directions = np.array([[1.0, 0], [0, 1], [0.1, 0.995]])
    table = together_table(pairs, directions, np.zeros((3, 1)), ["a", "b", "c"])
    assert list(zip(table["label_a"], table["label_b"], strict=True)) == [("a", "b"), ("a", "c")]
    assert table["both"].tolist() == [20, 20] and (table["q"] < 0.05).all()
    labels = np.array([[1.0, 0], [0, 1], [0.995, 0.1]])
    assert together_table(pairs, directions, labels, ["a", "b", "c"])["label_b"].tolist() == ["b"]
    labels[1] = 0  # b has no label that could be unlike that of a
    assert together_table(pairs, directions, labels, ["a", "b", "c"]).empty


def test_no_pairs_at_all():
    pairs = pairs_together(codes_of([1], [2]))
    assert len(together_table(pairs, np.eye(2), np.eye(2), ["a", "b"])) == 0
    assert find_families(pairs).family.tolist() == [-1, -1]


def test_a_family_is_a_general_latent_and_those_below_it():
    """Latent 0 fires on 40 texts, 1 to 3 on parts of them, 4 on a part of those of 1; 5 fires alone."""
    codes = codes_of(range(40), range(16), range(16, 28), range(28, 40), range(6), range(60, 80), n=200)
    found = find_families(pairs_together(codes))
    assert found.family.tolist() == [0, 0, 0, 0, 0, -1]
    assert found.parent.tolist() == [-1, 0, 0, 0, 1, -1]


def test_a_latent_that_fires_often_is_not_everybodys_parent():
    """A tenth of everybody's texts by chance is no link."""
    generator = np.random.default_rng(0)
    dense = (generator.random((5000, 12)) < 0.02).astype(np.float32)
    dense[:, 0] = generator.random(5000) < 0.3
    assert set(find_families(pairs_together(sparse.csr_array(dense))).family.tolist()) == {-1}


def test_small_families_are_none():
    codes = codes_of(range(30), range(15), range(15, 30))
    assert set(find_families(pairs_together(codes)).family.tolist()) == {-1}

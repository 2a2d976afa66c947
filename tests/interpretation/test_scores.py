import numpy as np
import pytest
from scipy import sparse
from sklearn.metrics import roc_auc_score

from sae_kedro.interpretation.halves import halves
from sae_kedro.interpretation.scores import (
    MOST,
    NEAR,
    POSITIVE,
    RANDOM,
    active_texts,
    annotate,
    auroc,
    auroc_interval,
    chance_above,
    draw_examples,
    hits,
    largest,
)


def test_auroc_by_hand():
    """Positives 2, 1; negatives 1, 0: of four pairs three are right and one is a tie."""
    assert chance_above(np.array([2, 1]), np.array([1, 0])).tolist() == [1.0, 0.75]
    assert auroc(np.array([0.0, 1, 1]), np.array([1.0, 1, 0])) == 0.875


def test_auroc_is_that_of_scikit_learn():
    generator = np.random.default_rng(0)
    positive, negative = generator.integers(0, 9, 50), generator.integers(0, 7, 80)
    expected = roc_auc_score([1] * 50 + [0] * 80, [*positive, *negative])
    assert chance_above(positive, negative).mean() == pytest.approx(expected, abs=1e-12)
    counts = [np.bincount(values, minlength=9).astype(float) for values in (positive, negative)]
    assert auroc(*counts) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("n", [0, 1, 3, 4, 7, 9])
def test_the_largest_are_those_of_a_stable_sort(n):
    values = np.array([1.0, 3, -np.inf, 2, 3, 2, 0], dtype=np.float32)
    assert largest(values, n).tolist() == [1, 4, 3, 5, 0, 6, 2][:n]


def test_hits_by_hand():
    """Of four positives three have a keyword, of four near misses one, of four random texts one."""
    found = hits(np.array([[5, 2, 1, 0], [0, 0, 0, 3], [1, 0, 0, 0]]), density=0.1)
    assert found.precision == pytest.approx(3 / 5)
    assert found.recall == 0.75
    assert found.f1 == pytest.approx(2 * 3 / (5 + 4))
    assert found.precision_at_density == pytest.approx(0.075 / (0.075 + 0.225))


def test_precision_is_not_one_minus_false_alarms():
    found = hits(np.array([[1, 1, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0]]), density=0.5)
    assert found.precision == 0.5


def test_no_hit_has_no_precision():
    assert np.isnan(hits(np.zeros((3, 3)), density=0.1).precision)


def test_keywords_add_up():
    presence = sparse.csr_array(np.array([[1, 0, 1], [0, 1, 0], [0, 0, 0]], dtype=np.float32))
    sums = annotate(presence, np.array([[0, 2], [1, -1]]), np.array([[3, 4], [5, 9]]))
    assert sums.tolist() == [[7, 0], [0, 5], [0, 0]]


def codes_and_vectors():
    generator = np.random.default_rng(0)
    codes = sparse.random_array((300, 5), density=0.2, rng=generator, format="csc", dtype=np.float32)
    vectors = generator.normal(size=(300, 6)).astype(np.float32)
    return codes, vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_examples_are_the_strongest_the_nearest_silent_and_other_silent_texts():
    codes, vectors = codes_and_vectors()
    examples = draw_examples(codes, vectors, np.arange(5), 0.2, np.random.default_rng(1).permutation(300))
    dense = codes.toarray()
    for latent in range(5):
        n = examples.n[latent]
        rows = examples.rows[latent, :, :n]
        assert n == int((dense[:, latent] > 0).sum() * 0.2)
        assert set(rows[POSITIVE]) == set(np.argsort(-dense[:, latent])[:n])
        silent = np.flatnonzero(dense[:, latent] == 0)
        nearness = vectors[silent] @ vectors[rows[POSITIVE]].sum(axis=0)
        assert set(rows[NEAR]) == set(silent[np.argsort(-nearness)[:n]])
        assert set(rows[RANDOM]) <= set(silent) and len(set(rows[RANDOM])) == n
        assert (examples.rows[latent, :, n:] == -1).all() and examples.rows.shape[2] == MOST


def test_a_code_that_is_stored_as_zero_or_below_is_no_firing():
    codes = sparse.csc_array((np.array([0.5, 0.0, -1.0, 2.0]), ([3, 1, 2, 0], [0, 0, 0, 0])), shape=(4, 1))
    assert active_texts(codes, 0).tolist() == [0, 3]


@pytest.mark.parametrize("n_active", [0, 3, 9])
def test_latents_with_too_few_texts_have_no_examples(n_active):
    codes = np.zeros((50, 1), dtype=np.float32)
    codes[:n_active] = 1
    examples = draw_examples(sparse.csc_array(codes), np.eye(50, dtype=np.float32), np.arange(1), 0.5, np.arange(50))
    assert examples.n.tolist() == [0] and (examples.rows == -1).all()


@pytest.mark.parametrize("n_active", [48, 50])
def test_a_latent_that_hardly_any_text_leaves_silent_does_not_run_out_of_them(n_active):
    codes = np.zeros((50, 1), dtype=np.float32)
    codes[:n_active] = 1
    examples = draw_examples(sparse.csc_array(codes), np.eye(50, dtype=np.float32), np.arange(1), 0.5, np.arange(50))
    assert examples.n.tolist() == [(50 - n_active) // 2]


@pytest.mark.parametrize("n", [10, 50, 200, 2000])
def test_no_text_makes_a_label_and_scores_it(n):
    texts = [f"Text {row // 2}" + " " * (row % 2) for row in range(n)]
    made_from, scored_on = halves(texts)
    assert sorted([*made_from, *scored_on]) == list(range(n))
    assert not {row // 2 for row in made_from} & {row // 2 for row in scored_on}
    assert n < 200 or abs(len(made_from) / n - 0.5) < 0.1


def test_the_same_text_in_other_letters_stays_in_one_half():
    parts = halves(["Straße  NACH Rom", "strasse nach rom", "Ｓtraße nach Rom"])
    assert sorted(map(len, parts)) == [0, 3]


def test_ends_of_an_interval_are_where_the_score_is_two_errors_away():
    score, positives = np.array([1.0, 0.5, 0.85, 0.85, np.nan]), np.array([5.0, 5, 5, 200, np.nan])
    low, high = auroc_interval(score, positives, 2 * positives)
    for place in range(4):
        m, n = positives[place], 2 * positives[place]
        for end in {low[place], high[place]} - {1.0}:
            bend = (1 - end) / (2 - end) + end / (1 + end)
            error = np.sqrt(end * (1 - end) * (1 + ((m + n) / 2 - 1) * bend) / (m * n))
            assert abs(score[place] - end) == pytest.approx(1.96 * error, abs=1e-6)
    assert high[0] == 1 and 0.7 < low[0] < 0.75  # five texts in perfect order prove little
    assert low[1] + high[1] == pytest.approx(1) and np.isnan(low[4]) and np.isnan(high[4])
    assert high[3] - low[3] < 0.2 * (high[2] - low[2])

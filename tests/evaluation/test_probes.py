from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import optimize, sparse, special

from sae_kedro import InputError
from sae_kedro.evaluation.probes import K_SPARSE_PENALTY, probe, telling_columns


@pytest.fixture(scope="module")
def data():
    """Three classes; latent c fires on class c nine times in ten, 30 others at random."""
    rng = np.random.default_rng(0)
    y = rng.integers(3, size=600)
    fires = rng.random((600, 33)) < 0.1
    fires[np.arange(600), y] = rng.random(600) < 0.9
    fires[:, :3] &= np.eye(3, dtype=bool)[y]
    x = fires * (0.5 + rng.random((600, 33)))
    return x[:400], y[:400], x[400:], y[400:]


def test_telling_columns_by_hand():
    # means in a: (1, 1), in b: (0, 3): differences 1 and 2
    x = np.array([[1.0, 0.0], [1.0, 2.0], [0.0, 2.0], [0.0, 4.0]])
    for matrix in (x, sparse.csr_array(x)):
        found = telling_columns(matrix, ["a", "a", "b", "b"], 5)
        assert {name: columns.tolist() for name, columns in found.items()} == {"a": [1, 0], "b": [1, 0]}


def test_one_latent_that_marks_a_class_is_found_and_enough(data):
    x, y, test_x, test_y = data
    result = probe(x, y, test_x, test_y)
    assert [columns[0] for columns in result.columns.values()] == [0, 1, 2]
    # a text is recognised when its latent fires; otherwise one of three guesses
    fires = (test_x[:, :3] > 0).any(axis=1)
    assert result.k_sparse_correct[1][fires].all()
    assert result.k_sparse[1] == pytest.approx(0.9 + 0.1 / 3, abs=0.05)
    assert result.accuracy > 0.85 and len(result.columns["0"]) == 20
    counts = np.bincount(y)
    assert result.majority == pytest.approx((test_y == counts.argmax()).mean())


def test_sparse_dense_and_tensor_codes_agree(data):
    x, y, test_x, test_y = data
    dense = probe(x, y, test_x, test_y)
    for convert in (sparse.csr_array, lambda part: torch.tensor(part, requires_grad=True)):
        other = probe(convert(x), y, convert(test_x), test_y)
        assert (other.correct == dense.correct).all() and other.columns == dense.columns
        assert all((other.k_sparse_correct[k] == right).all() for k, right in dense.k_sparse_correct.items())


def test_the_scale_of_codes_does_not_matter(data):
    x, y, test_x, test_y = data
    result = probe(x, y, test_x, test_y)
    for factor in (1e-6, 1e6):  # at the first the penalty alone would decide, at the second there would be none
        other = probe(x * factor, y, test_x * factor, test_y)
        assert (other.correct == result.correct).all() and other.columns == result.columns
        assert other.k_sparse == result.k_sparse and other.penalty == result.penalty


def test_labels_without_meaning_are_guessed(data):
    x, y, test_x, test_y = data
    result = probe(x, np.random.default_rng(2).permutation(y), test_x, test_y)
    assert result.accuracy < 0.45 and result.k_sparse[20] < 0.45


def test_a_latent_that_never_fired_in_training_changes_nothing(data):
    x, y, test_x, test_y = data
    silent, loud = np.zeros((400, 1)), np.full((200, 1), 1e9)
    other = probe(np.hstack([x, silent]), y, np.hstack([test_x, loud]), test_y)
    assert (other.correct == probe(x, y, test_x, test_y).correct).all()


def test_labels_may_be_text_and_unseen_ones_count_as_wrong(data):
    x, y, test_x, test_y = data
    names = np.array(["red", "green", "blue"])
    result = probe(x, names[y], test_x, names[test_y].tolist())
    assert result.accuracy == probe(x, y, test_x, test_y).accuracy
    assert probe(x, y, test_x, ["never seen"] * 200).accuracy == 0


@pytest.mark.parametrize(
    ("train_y", "test_y", "sentence"),
    [
        (["a"] * 400, ["a"] * 200, "needs two classes to learn and a text to test on; there are 1 and 200"),
        (["a"] * 399, ["a"] * 200, "needs one label per row; there are 400 and 200 rows with 399 and 200 labels"),
    ],
)
def test_nothing_to_learn_is_said(data, train_y, test_y, sentence):
    with pytest.raises(InputError, match=sentence):
        probe(data[0], train_y, data[2], test_y)


def test_probes_of_many_rare_classes_are_those_of_the_optimum():
    """Gradients of rare classes are small from the start: at a tolerance of 1e-3 fits end early, and answers differ."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(80, 40))
    y = rng.integers(80, size=3000)
    x = centres[y] + 1.3 * rng.normal(size=(3000, 40))
    x /= np.sqrt((x[:2000] ** 2).sum(axis=1).mean())
    result = probe(x[:2000], y[:2000], x[2000:], y[2000:], penalties=(10.0,))
    onehot = np.eye(80)[y[:2000]]

    def answers(columns, targets, penalty):
        """Minimise penalty * sum of log losses + |w|^2 / 2, intercepts free, to the last digit."""
        z, test_z = (np.hstack([part[:, columns], np.ones((len(part), 1))]) for part in (x[:2000], x[2000:]))
        width, n_out = z.shape[1], targets.shape[1]

        def loss(flat):
            w = flat.reshape(width, n_out)
            scores = z @ w
            if n_out > 1:
                log_p = scores - special.logsumexp(scores, axis=1, keepdims=True)
                value, error = -(targets * log_p).sum(), np.exp(log_p) - targets
            else:
                value = -special.log_expit((2 * targets - 1) * scores).sum()
                error = special.expit(scores) - targets
            free = np.vstack([w[:-1], np.zeros((1, n_out))])
            return penalty * value + (free**2).sum() / 2, (penalty * z.T @ error + free).ravel()

        found = optimize.minimize(loss, np.zeros(width * n_out), jac=True, method="L-BFGS-B", tol=1e-13)
        return test_z @ found.x.reshape(width, n_out)

    linear = answers(slice(None), onehot, 10.0).argmax(axis=1)
    columns = telling_columns(x[:2000], y[:2000], 5)
    sparse_odds = np.hstack([answers(columns[name], onehot[:, [int(name)]], K_SPARSE_PENALTY) for name in columns])
    few = np.array([int(name) for name in columns])[sparse_odds.argmax(axis=1)]
    assert abs((linear == y[2000:]).mean() - result.accuracy) <= 0.003
    assert (result.k_sparse_correct[5] != (few == y[2000:])).mean() <= 0.002

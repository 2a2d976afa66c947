from __future__ import annotations

import logging

import numpy as np
import pytest
from scipy import sparse
from sklearn.metrics import r2_score, roc_auc_score

from sae_kedro.errors import InputError
from sae_kedro.interpretation.predict import predict, score_with_influence
from sae_kedro.interpretation.targets import Question
from sae_kedro.interpretation.told import gains, prediction_sentences


@pytest.fixture(scope="module")
def planted():
    """Codes of which 3 and 5 tell a class, texts of which length tells it too, and embeddings that hold it all."""
    rng = np.random.default_rng(0)
    codes = sparse.random_array((1500, 80), density=0.05, rng=rng, dtype=np.float32).tolil()
    codes[:, [3, 5]] = (rng.random((1500, 2)) < 0.3) * (1 + rng.random((1500, 2)))
    codes = codes.tocsr()
    fires = (codes[:, [3, 5]].toarray() > 0) @ [2.0, 1.5]
    words = rng.integers(1, 40, 1500)
    odds = fires + words / 20 - 2
    texts = [f"text {i} " + "word " * words[i] for i in range(1500)]
    vectors = np.c_[odds, rng.normal(size=(1500, 7))].astype(np.float32)
    return codes, texts, odds, vectors, rng.random(1500) < 1 / (1 + np.exp(-odds))


def test_the_features_that_tell_a_class_are_found_and_no_others(planted):
    codes, texts, _, vectors, truth = planted
    found = predict(codes, truth, texts=texts, vectors=vectors, labels={3: "three"})
    assert found.features["latent"].tolist() == [3, 5] and found.features["label"].tolist() == ["three", "latent 5"]
    assert (found.features["weight"] > 0).all() and (found.features["chosen"] >= 0.8).all()
    assert found.summary["n_features"] == 2 and found.summary["measure"] == "auroc"
    alone, chosen, _, embedding = found.scores.to_dict("records")
    assert found.scores["inputs"].tolist() == [
        "length and controls",
        "and the features",
        "and all codes",
        "and the embedding",
    ]
    assert alone["score"] > 0.6 and alone["gain"] == 0  # length tells something
    assert chosen["gain_lo"] > 0.05 and chosen["low"] < chosen["score"] < chosen["high"]
    assert found.summary["gain"] == chosen["gain"] == chosen["score"] - alone["score"]
    assert found.summary["missed"] == pytest.approx(found.scores["score"][2:].max() - chosen["score"])
    assert abs(embedding["score"] - chosen["score"]) < 0.05


def test_what_was_found_is_told_and_drawn(planted):
    codes, texts, _, vectors, truth = planted
    found = predict(codes, truth, texts=texts, vectors=vectors, labels={3: "three"})
    gained, missed, features = prediction_sentences(found, "kind")
    scores = found.scores["score"]
    assert gained.startswith(f"kind, on unseen texts: 2 features and length reach AUROC {scores[1]:.3f} (")
    assert f"length and controls alone {scores[0]:.3f}: a gain of {scores[1] - scores[0]:.3f} (" in gained
    assert missed.startswith(f"all codes {scores[2]:.3f}, the embedding {scores[3]:.3f}: the features miss ")
    assert features.startswith("True: three (+") and "; latent 5 (+" in features
    plot = gains(found, "kind")
    assert list(plot.data[0].x) == scores[::-1].tolist() and plot.data[0].y[-1] == "length and controls"
    none = found._replace(features=found.features.head(0), summary=found.summary | {"n_features": 0})
    assert (
        "0 features" in prediction_sentences(none, "kind")[0] and "no feature is" in prediction_sentences(none, "x")[-1]
    )


def test_a_number(planted):
    codes, texts, odds, _, _ = planted
    found = predict(codes, 1000 + 50 * odds, texts=texts, number=True)
    assert set(found.features["latent"]) == {3, 5} and found.summary["measure"] == "r2"
    alone, chosen, everything = found.scores["score"]
    assert 0 < alone < 0.5 and chosen > 0.9 and everything > 0.9


def test_several_classes_have_sets_of_their_own(planted):
    codes, texts, _, _, _ = planted
    three, five = (codes[:, [latent]].toarray().ravel() > 0 for latent in (3, 5))
    found = predict(codes, np.select([three & ~five, five & ~three], ["x", "y"], "z"), texts=texts)
    weights = found.features.set_index(["group", "latent"])["weight"]
    assert weights["x", 3] > 0 > weights["x", 5] and weights["y", 5] > 0 > weights["y", 3]
    assert set(found.features["latent"]) == {3, 5} and found.scores["score"][1] > 0.9


def test_chance_gives_no_feature_and_no_gain(planted):
    codes, texts, _, _, truth = planted
    found = predict(codes, np.random.default_rng(5).permutation(truth), texts=texts)
    assert found.features.empty  # nothing is padded
    assert found.scores["gain_lo"][1] <= 0


def test_the_order_of_rows_and_of_latents_makes_no_difference(planted):
    codes, texts, _, vectors, truth = planted
    rng = np.random.default_rng(1)
    rows, latents = rng.permutation(1500), rng.permutation(80)
    plain = predict(codes, truth, texts=texts, vectors=vectors)
    moved = predict(codes[rows][:, latents], truth[rows], texts=[texts[row] for row in rows], vectors=vectors[rows])
    assert latents[moved.features["latent"]].tolist() == plain.features["latent"].tolist()
    assert moved.features["chosen"].tolist() == plain.features["chosen"].tolist()
    assert moved.scores["score"].to_numpy() == pytest.approx(plain.scores["score"].to_numpy(), abs=1e-3)


def test_a_target_that_is_written_in_the_texts_is_warned_of(planted, caplog):
    codes, texts, _, _, _ = planted
    with caplog.at_level(logging.WARNING):
        predict(codes, codes[:, [3]].toarray().ravel() > 0, texts=texts)
    assert "AUROC of the features is above 0.995; is the target written in the texts?" in caplog.text


@pytest.mark.parametrize("number", [False, True])
def test_few_texts_either_do_or_are_refused_in_a_sentence(number):
    rng, refused = np.random.default_rng(0), 0
    for seed in range(12):
        codes = sparse.csr_array((rng.random((24, 6)) < 0.6).astype(np.float32))
        target = rng.permutation(24) if number else ["a", "b"] * 12
        try:
            found = predict(codes, target, texts=[f"{seed} {i}" for i in range(24)], number=number)
            assert np.isfinite(found.scores.drop(columns="inputs").to_numpy(float)).all()
        except InputError as error:
            refused += 1
            assert str(error).startswith("24 different texts are too few to learn from one half and score on the other")
    assert 0 < refused < 12


def test_embeddings_need_a_row_for_each_text(planted):
    codes, texts, _, vectors, truth = planted
    with pytest.raises(InputError, match="vectors need a row for each of 1500 rows of codes; there are 9"):
        predict(codes, truth, texts=texts, vectors=vectors[:9])


def test_scores_and_their_errors_are_delongs():
    rng = np.random.default_rng(0)
    truth = rng.random(300) < 0.3
    predicted = (truth + rng.normal(size=300)).round(1)[:, None]
    question = Question(["a"], sparse.csr_array(truth[:, None].astype(float)), None)
    score, influence = score_with_influence(predicted, question)
    assert score == pytest.approx(roc_auc_score(truth, predicted[:, 0]))
    # DeLong: the variances of how each member compares with the rest, and each of the rest with the members
    a, b = predicted[truth], predicted[~truth]
    wins = (a > b.T) + 0.5 * (a == b.T)
    variance = wins.mean(axis=1).var() / len(a) + wins.mean(axis=0).var() / len(b)
    assert influence.var() / 300 == pytest.approx(variance)
    assert influence.mean() == pytest.approx(0, abs=1e-12)


def test_the_score_of_groups_is_the_mean_and_that_of_a_number_r2():
    rng = np.random.default_rng(0)
    members = np.eye(3)[rng.integers(3, size=200)]
    predicted = members + rng.normal(size=(200, 3))
    score, influence = score_with_influence(predicted, Question(list("abc"), sparse.csr_array(members), None))
    assert score == pytest.approx(np.mean([roc_auc_score(members[:, i], predicted[:, i]) for i in range(3)]))
    number = rng.normal(size=200)
    guess = number[:, None] + rng.normal(size=(200, 1)) / 2
    r2, influence = score_with_influence(guess, Question(["high"], sparse.csr_array((200, 1)), number))
    assert r2 == pytest.approx(r2_score(number, guess[:, 0]))
    draws = [rng.integers(200, size=200) for _ in range(2000)]
    bootstrap = np.std([r2_score(number[rows], guess[rows, 0]) for rows in draws])
    assert influence.std() / np.sqrt(200) == pytest.approx(bootstrap, rel=0.1)

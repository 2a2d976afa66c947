import numpy as np
import pytest

from sae_kedro import InputError
from sae_kedro.interpretation.keywords import alike
from sae_kedro.interpretation.words import inflections, is_word, parts_of, read_vocabulary


def unit(x):
    return np.asarray(x, dtype=np.float32) / np.linalg.norm(x, axis=1, keepdims=True)


@pytest.mark.parametrize("name", ["galaxy", "3d", "h2o", "сеть", "β"])
def test_what_has_a_letter_is_a_word(name):
    assert is_word(name)


@pytest.mark.parametrize("name", ["42", "2021", "1990s", "__", "10th"])
def test_a_number_is_no_word(name):
    assert not is_word(name)


def test_parts_are_proper_beginnings_and_endings():
    assert parts_of("stars") == ["st*", "*rs", "sta*", "*ars", "star*", "*tars"]
    assert parts_of("on") == []


@pytest.mark.parametrize(
    "words", [["network", "networks"], ["galaxy", "galaxies"], ["сеть", "сетей"], ["Haus", "Hauses"]]
)
def test_words_that_begin_alike_and_whose_texts_lie_together_are_one(words):
    counts, sums = np.array([50.0, 50.0]), np.array([[40.0, 3.0], [41.0, -2.0]])
    assert len(set(inflections(words, counts, sums))) == 1


@pytest.mark.parametrize("words", [["planet", "plane"], ["star", "start"], ["cat", "dog"]])
def test_words_whose_texts_lie_apart_are_two(words):
    counts, sums = np.array([50.0, 50.0]), np.array([[40.0, 0.0], [0.0, 40.0]])
    assert len(set(inflections(words, counts, sums))) == 2


def test_a_rare_form_is_judged_by_its_ending():
    """One text is no evidence; that `s` is an ending elsewhere is."""
    words, sums, counts = [], [], []
    for index in range(8):
        direction = np.eye(9)[index]
        words += [f"{'bcdfghjk'[index] * 4}a", f"{'bcdfghjk'[index] * 4}as"]
        sums += [40 * direction, 40 * direction]
        counts += [50.0, 50.0]
    rare = ["tttta", "ttttas"]
    alone = inflections(rare, np.array([1.0, 1.0]), np.array([np.eye(9)[8], np.eye(9)[0]]))
    assert len(set(alone)) == 2
    found = inflections(words + rare, np.array([*counts, 1.0, 1.0]), np.array([*sums, np.eye(9)[8], np.eye(9)[0]]))
    assert found[-1] == found[-2] and len(set(found)) == 9


def test_stop_words_are_frequent_and_point_everywhere():
    """`der` is in all texts, `hund` in half of them, which lie together; no list of a language is asked."""
    generator = np.random.default_rng(0)
    vectors = generator.normal(size=(400, 8))
    vectors[::2, 0] += 6
    vectors = unit(vectors - vectors.mean(axis=0))
    texts = [f"der {'hund' if row % 2 == 0 else 'vogel'} wort{'abcdefgh'[row % 8]}" for row in range(400)]
    vocabulary = read_vocabulary(texts, vectors)
    assert vocabulary.stop_words == {"der"}
    assert "hund" in vocabulary.names and "der" not in vocabulary.names
    assert not any("der" in name.split() for name in vocabulary.names)


def test_presence_counts_any_form_of_a_word_and_pairs_of_neighbours():
    vectors = unit(np.tile([[1.0, 0.2]], (24, 1)))
    texts = [
        "neural network",
        "neural networks",
        "a neural network",
        "my neural networks",
        "neural network",
        "tree",
    ] * 4
    vocabulary = read_vocabulary(texts, vectors)
    place = {name: index for index, name in enumerate(vocabulary.names)}
    assert vocabulary.entries["networks"] == vocabulary.entries["network"] == place["network"]
    found = vocabulary.presence_in(["networks of trees", "Neural networks", "17"]).toarray()
    assert found[:, place["network"]].tolist() == [1, 1, 0]
    assert found[:, place["neural network"]].tolist() == [0, 1, 0]
    assert vocabulary.parts[place["neural network"]].tolist() == [place["neural"], place["network"]]
    np.testing.assert_array_equal(vocabulary.presence_in(texts).toarray(), vocabulary.presence.toarray())


def test_a_part_stands_for_words_never_seen():
    generator = np.random.default_rng(0)
    texts = [f"{begin}logy {begin}graphy" for begin in ("geo", "bio", "phono", "onto", "typo", "ethno")] * 2
    vocabulary = read_vocabulary(texts, unit(generator.normal(size=(12, 8))))
    place = vocabulary.names.index("*logy")
    assert vocabulary.presence_in(["mineralogy", "logy", "logyx"])[:, [place]].toarray().ravel().tolist() == [1, 0, 0]
    members = vocabulary.words_of_parts[[place]].indices
    assert {vocabulary.names[word] for word in members} >= {"geology", "biology"}


def test_texts_can_be_cut_by_any_function():
    texts = ["深層学習", "深層模型", "深層学習", "統計学習"]
    by_two = lambda text: [text[i : i + 2] for i in range(0, len(text), 2)]  # noqa: E731
    vocabulary = read_vocabulary(texts, unit(np.random.default_rng(0).normal(size=(4, 3))), by_two)
    assert {"深層", "学習"} <= set(vocabulary.names)


@pytest.mark.parametrize("texts", [["1 2 3", "4"], ["", ""], ["one", "two"]])
def test_texts_without_a_word_that_two_of_them_have(texts):
    with pytest.raises(InputError, match="no word is in two of these texts"):
        read_vocabulary(texts, unit(np.ones((2, 3))))


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ("network", "networks", True), ("galaxy", "galaxies", True), ("gap", "gaps", True), ("print", "printing", True),
        ("star", "quark", False), ("car", "cat", False), ("geo*", "geology", True), ("geo*", "biology", False),
        ("*logy", "geology", True), ("geo*", "*logy", False), ("st*", "star*", True), ("сеть", "сети", True),
    ],
)  # fmt: skip
def test_what_reads_like_forms_of_one_word(a, b, expected):
    assert alike(a, b) is alike(b, a) is expected

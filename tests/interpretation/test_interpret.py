"""Labels of a small corpus whose topics are known, and of real texts."""

import copy
import json
import re

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse

from sae_kedro import InputError, fit
from sae_kedro.interpretation.features import Features
from sae_kedro.interpretation.interpret import interpret, titles
from sae_kedro.interpretation.keywords import alike
from sae_kedro.sae.io import weights_digest
from sae_kedro.sae.topk import TopKSAE

TOPICS = {
    "qubit": ["qubit", "qubits", "entangled", "decoherence"],
    "galaxy": ["galaxy", "galaxies", "redshift", "quasar"],
    "protein": ["protein", "proteins", "folding", "enzyme"],
    "auction": ["auction", "auctions", "bidder", "equilibrium"],
    "сеть": ["сеть", "сетей", "нейрон", "обучение"],
}
FILLER = ["the", "with", "about", "mostly", "2021", "17"]


class Planted:
    """Texts of five topics, a latent for each, one that never fires, and one that is rare."""

    def __init__(self, n=600, seed=0):
        generator = np.random.default_rng(seed)
        topic = generator.integers(0, 5, n)
        words = list(TOPICS.values())
        self.texts = [
            " ".join(generator.permutation([*generator.choice(words[t], 2), *generator.choice(FILLER, 3), f"n{row}"]))
            for row, t in enumerate(topic)
        ]
        codes = np.zeros((n, 7), dtype=np.float32)
        codes[np.arange(n), topic] = 1 + generator.random(n)
        codes[:4, 6] = 1
        self.codes = sparse.csr_array(codes)
        self.sae = TopKSAE({"act_size": 8, "dict_size": 7, "top_k": 1, "sae_type": "topk"})
        self.sae.W_dec.data = torch.eye(8)[:7].clone()
        noise = generator.normal(size=(n, 8)).astype(np.float32)
        self.vectors = codes @ np.eye(8, dtype=np.float32)[:7] + 0.1 * noise

    def permuted(self, order):
        other = Planted()
        other.sae.W_dec.data = self.sae.W_dec.data[torch.as_tensor(order.copy())]
        other.codes = sparse.csr_array(self.codes.toarray()[:, order])
        return other

    def interpreted(self, **changes):
        given = {"sae": self.sae, "codes": self.codes, "texts": self.texts, "vectors": self.vectors}
        return interpret(**(given | changes))


@pytest.fixture(scope="module")
def planted():
    return Planted()


@pytest.fixture(scope="module")
def features(planted):
    return planted.interpreted()


def test_planted_words_are_found(features):
    for latent, topic in enumerate(TOPICS):
        row = features.table.loc[latent]
        assert set(row["keywords"].split(", ")) <= {*TOPICS[topic]} and topic[:3] in row["keywords"]
        assert row["label_auroc"] > 0.9 and row["label_auroc_15"] > 0.9
        assert row["typical_text"] in row["top_texts"] or row["typical_text"] in Planted().texts
    assert features.summary["floor_auroc"] < 0.5  # others' words are in negatives only
    assert features.summary["n_labelled"] == 5


def test_keywords_are_no_forms_of_one_word_no_numbers_and_no_filler(features):
    for keywords in features.table["keywords"].dropna():
        words = keywords.split(", ")
        assert not any(alike(a, b) for i, a in enumerate(words) for b in words[:i])
        assert not any(re.search(r"\d\d", word) or word in FILLER for word in words)


def test_latents_without_enough_texts_have_no_label_and_say_so(features):
    dead, rare = features.table.loc[5], features.table.loc[6]
    assert (dead["status"], rare["status"]) == ("dead", "rare")
    for row in (dead, rare):
        assert pd.isna(row["label"]) and pd.isna(row["keywords"]) and pd.isna(row["label_auroc"])
    assert features.labels.keys() == {0, 1, 2, 3, 4}
    assert (features.summary["n_dead"], features.summary["n_rare"]) == (1, 1)


def test_without_texts_there_are_no_labels_but_everything_else(planted, features):
    alone = planted.interpreted(texts=None)
    assert alone.labels == {} and list(alone.table["status"]) == ["wordless"] * 5 + ["dead", "wordless"]
    assert alone.summary["n_labelled"] == 0 and alone.summary["label_auroc"] is None
    for column in ("n_texts", "density", "max_act", "top_rows", "nearest", "family"):
        assert _plain(alone.table[column]) == _plain(features.table[column]), column
    assert alone.search("qubit").empty


def test_latents_of_another_seed_are_found_again(planted):
    other = planted.permuted(np.array([4, 6, 0, 5, 2, 1, 3])).sae
    other.W_dec.data[0] = other.W_dec.data[0] + torch.eye(8)[7]  # latent 4 of this one, turned by 45 degrees
    found = planted.interpreted(other_seed=other)
    assert found.table["stability"].tolist() == pytest.approx([1, 1, 1, 1, 0.5**0.5, 1, 1])
    assert found.summary["stability"] == pytest.approx((4 + 0.5**0.5) / 5)
    assert "stability" not in planted.interpreted().table


def test_another_order_of_latents_is_another_order_of_rows(planted, features):
    order = np.array([4, 6, 0, 5, 2, 1, 3])
    found = planted.permuted(order).interpreted().table
    back = {int(old): new for new, old in enumerate(order)}
    for old in range(7):
        mine, other = features.table.loc[old], found.loc[back[old]]
        for column in features.table.columns.drop(["latent", "family", "parent", "nearest", "fires_with"]):
            assert json.dumps(_plain(mine[column])) == json.dumps(_plain(other[column])), column
        assert [back[latent] for latent in mine["nearest"]] == list(other["nearest"])


def test_real_latents_in_another_order_have_the_same_labels_families_and_company(real):
    docs, vectors = real
    sae = fit(vectors, dict_size=96, top_k=12, n_epochs=4)
    order = np.random.default_rng(0).permutation(96)
    other = copy.deepcopy(sae)
    other.W_dec.data, other.density = sae.W_dec.data[order], sae.density[order]
    codes = sae.transform(vectors)
    a = interpret(sae, codes, docs, vectors)
    b = interpret(other, sparse.csr_array(codes.toarray()[:, order]), docs, vectors)
    assert a.summary["n_labelled"] > 20 and a.table["family"].max() > 0 and len(a.together) > 0
    number = np.append(order, -1)  # of a latent of b in a
    back = b.table.assign(latent=order).sort_values("latent", ignore_index=True)
    for column in ("family", "parent", "nearest", "fires_with"):
        back[column] = [number[latents].tolist() for latents in back[column]]
    for column in a.table.columns:
        assert json.dumps(_plain(a.table[column])) == json.dumps(_plain(back[column])), column
    pairs = [
        {(frozenset((of[row.latent_a], of[row.latent_b])), row.both, row.npmi) for row in found.together.itertuples()}
        for found, of in ((a, np.arange(96)), (b, order))
    ]
    assert pairs[0] == pairs[1]


def _plain(value):
    value = value.tolist() if hasattr(value, "tolist") else value
    return [_plain(part) for part in value] if isinstance(value, list) else value


def test_two_runs_write_the_same_bytes(planted, tmp_path):
    for name in ("a", "b"):
        planted.interpreted().save(tmp_path / name)
    for file in ("features.parquet", "features.csv", "together.csv"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_features_come_back_from_the_disk(planted, features, tmp_path):
    features.save(tmp_path)
    loaded = Features.load(tmp_path, planted.sae)
    assert loaded.labels == features.labels and loaded.summary == features.summary
    assert loaded.top_texts(0) == features.top_texts(0)
    assert loaded.search("qubit").equals(loaded.search("qubit")) and len(loaded.search("qubit")) == 1
    flat = pd.read_csv(tmp_path / "features.csv")
    assert flat["latent"].tolist() == list(range(7))
    assert json.loads(flat["patterns"][0]) == list(features.table["patterns"][0])
    needed = {"latent", "label", "keywords", "label_auroc", "floor_auroc", "cohesion", "density", "n_texts", "family"}
    assert needed <= set(flat.columns)


def test_features_of_another_sae_are_refused(planted, features, tmp_path):
    features.save(tmp_path)
    other = TopKSAE(planted.sae.cfg | {"seed": 7})
    with pytest.raises(InputError, match="features are of another SAE"):
        Features.load(tmp_path, other)
    with pytest.raises(InputError, match="features are of another SAE"):
        features.of("a text", other, lambda texts: np.ones((len(texts), 8)))


def test_the_digest_is_the_one_of_the_saved_sae(planted, tmp_path):
    from sae_kedro import save_sae

    save_sae(planted.sae, tmp_path)
    assert json.loads((tmp_path / "cfg.json").read_text())["sha256"]["weights"] == weights_digest(planted.sae)


@pytest.mark.parametrize("content", [None, b"not a table"])
def test_files_that_are_no_features(tmp_path, content):
    if content is not None:
        (tmp_path / "features.parquet").write_bytes(content)
    with pytest.raises(InputError, match="features.parquet cannot be read"):
        Features.load(tmp_path / "features.parquet")


def test_a_table_of_something_else(tmp_path):
    pd.DataFrame({"latent": [1]}).to_parquet(tmp_path / "features.parquet")
    with pytest.raises(InputError, match="does not say which SAE"):
        Features.load(tmp_path)


def test_search_finds_latents_by_their_keywords(features):
    assert features.search("Protein, folding").iloc[0]["latent"] == 2
    assert len(features.search("nothing of this")) == 0
    assert len(features.search("qubit galaxy protein", n=2)) == 2


def test_no_such_latent(features):
    with pytest.raises(InputError, match="latent=7 does not exist; latents are 0 to 6"):
        features.top_texts(7)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"texts": ["a text"] * 599}, "one text per row of codes; there are 599 and 600"),
        ({"texts": [None] * 600}, "labels need texts; row 0 has None"),
        ({"texts": ["17"] * 600}, "no word is in two of these texts"),
        ({"codes": sparse.csr_array((600, 8), dtype=np.float32)}, "not of this SAE, which has dict_size=7"),
        ({"vectors": np.ones((600, 9), dtype=np.float32)}, "embeddings of shape .* act_size=8"),
        ({"vectors": np.full((600, 8), np.nan, dtype=np.float32)}, "finite"),
        (
            {"texts": ["a b"] * 40, "codes": sparse.csr_array((40, 7)), "vectors": None},
            "at least 50 texts; there are 40",
        ),
    ],
)
def test_bad_input_is_one_sentence(planted, change, match):
    with pytest.raises(InputError, match=match) as error:
        planted.interpreted(**change)
    assert "\n" not in str(error.value)


def test_titles_differ_where_keywords_do():
    keywords = [["a*", "b", "c"], ["b", "c", "d"], [], ["b", "c"], ["e*"]]
    assert titles(keywords) == ["b, c", "b, c, d", None, "b, c", "e*"]


@pytest.fixture(scope="module")
def real(docs, minilm):
    """Paragraphs of Python's documentation, and their embeddings."""
    return docs[:240], minilm.encode(docs[:240])


def test_real_texts_with_and_without_the_model(real, minilm):
    """Paragraphs of Python's documentation: reconstructions and the texts' own words do where nothing else is given."""
    encode = lambda texts: minilm.encode(texts, convert_to_numpy=True)  # noqa: E731
    docs, x = real
    sae = fit(x, docs, dict_size=24, top_k=3, n_epochs=4)
    codes = sae.transform(x)
    given, alone = interpret(sae, codes, docs, x, encode), interpret(sae, codes, docs)
    for features in (given, alone):
        assert features.summary["n_labelled"] > 10
        assert features.summary["label_auroc"] > features.summary["floor_auroc"] + 0.05
    assert given.summary["label_auroc"] > 0.6
    of = given.of(docs[0], sae, encode)
    assert of["latent"].tolist() == [int(f) for f in codes[[0]].indices[np.argsort(-codes[[0]].data, kind="stable")]]
    assert len(given.search_by_meaning("raise an error", sae, encode, n=3)) == 3

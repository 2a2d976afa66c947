"""Labels that a person has given, and what becomes of them when latents are interpreted."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from sae_kedro import InputError
from sae_kedro.interpretation.features import Features
from sae_kedro.interpretation.own_labels import add_own_label, read_own_labels, with_own_labels


@pytest.fixture
def features():
    table = pd.DataFrame({"latent": [0, 1, 2], "label": ["files", None, "maths"], "label_auroc": [0.9, None, 0.8]})
    together = pd.DataFrame({"latent_a": [0], "label_a": ["files"], "latent_b": [1], "label_b": ["latent 1"]})
    return Features(table, "aa", together)


def test_the_last_label_of_a_latent_counts_and_an_empty_one_takes_it_back(tmp_path):
    file = tmp_path / "own_labels.jsonl"
    assert read_own_labels(file, "aa") == {}
    for latent, label in ((0, "first"), (1, "one"), (2, "two"), (0, " last "), (2, "")):
        add_own_label(file, "aa", latent, label, "why\nso")
    assert read_own_labels(file, "aa") == {0: "last", 1: "one"}
    assert len(file.read_text().splitlines()) == 5 and json.loads(file.read_text().splitlines()[0])["note"] == "why\nso"


def test_labels_of_another_sae_are_left_out_and_counted(tmp_path, caplog):
    file = tmp_path / "own_labels.jsonl"
    for digest, latent in (("aa", 0), ("bb", 1), ("bb", 0)):
        add_own_label(file, digest, latent, f"of {digest}")
    assert read_own_labels(file, "aa") == {0: "of aa"}
    assert f"2 own labels in {file} are of another SAE" in caplog.text
    caplog.clear()
    assert read_own_labels(file, None) == {} and caplog.text == ""


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("{", "line 2, is not valid JSON: .*; mend or remove it"),
        ("[" * 100_000, "line 2, is not valid JSON"),
        ("\udcff", "line 2, is not valid JSON"),
        ("[]", r"line 2, is no label: it needs sae_sha256, latent, label, and is \[\]"),
        ('{"sae_sha256": "aa", "latent": true, "label": "x"}', "line 2, is no label"),
        ('{"sae_sha256": "aa", "latent": 1}', "line 2, is no label"),
    ],
)
def test_a_line_that_is_no_label_is_told(tmp_path, line, sentence):
    file = tmp_path / "own_labels.jsonl"
    add_own_label(file, "aa", 0, "fine")
    with file.open("ab") as stream:
        stream.write(line.encode(errors="surrogateescape") + b"\n")
    with pytest.raises(InputError, match=sentence):
        read_own_labels(file)


def test_a_file_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "own_labels.jsonl").mkdir()
    with pytest.raises(InputError, match="own_labels.jsonl cannot be written: Is a directory"):
        add_own_label(tmp_path / "own_labels.jsonl", "aa", 0, "x")


def test_own_labels_win_and_say_so(features):
    found = with_own_labels(features, {1: "mine", 2: "also"})
    assert found.table["label"].tolist() == ["files", "mine", "also"]
    assert found.table["label_source"].tolist() == ["keywords", "person", "person"]
    assert found.table["label_auroc"].tolist()[::2] == [0.9, 0.8]
    assert found.together.loc[0, ["label_a", "label_b"]].tolist() == ["files", "mine"]
    assert features.table["label"].tolist()[0] == "files" and "label_source" not in features.table
    assert list(found.table)[:3] == ["latent", "label", "label_source"]
    named = found.table.assign(patterns=[["file"], [], []], weights=[[2.0], [], []])
    assert Features(named, "aa").search("Mine, and files")[["latent", "score"]].values.tolist() == [[0, 2], [1, 1]]


def test_without_any_the_source_is_told_all_the_same(features):
    source = with_own_labels(features, {}).table["label_source"]
    assert source.tolist()[::2] == ["keywords", "keywords"] and pd.isna(source[1])
    table = features.table.assign(label_source=["llm", None, "keywords"])
    found = with_own_labels(Features(table, "aa"), {2: "mine"}).table["label_source"]
    assert (found[0], found[2]) == ("llm", "person")

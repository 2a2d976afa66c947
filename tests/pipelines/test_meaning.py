from __future__ import annotations

import json
import os
import re

import pandas as pd
import pytest
import torch

from llm_server import LLMServer
from running import copy_project, run_command, run_session
from sae_kedro import load_sae
from sae_kedro.interpretation.features import Features
from sae_kedro.interpretation.own_labels import add_own_label
from sae_kedro.pipelines.groups import labels_of


@pytest.fixture(scope="module")
def given(docs, tmp_path_factory):
    """An SAE of texts of which every second is a question about the weather, in a corpus that says which."""
    folder = tmp_path_factory.mktemp("meaning")
    weather = ["Will it rain or snow in {} tomorrow?", "How warm is the weather in {} this week?"]
    towns = ["Oslo", "Lima", "Cairo", "Perth", "Quito", "Kyoto", "Turin", "Accra", "Delhi", "Minsk"]
    rows = [{"text": text, "kind": "docs", "year": number % 7} for number, text in enumerate(docs[:200])]
    asked = [(place, town) for place in range(len(weather)) for town in towns for _ in range(10)]
    rows += [
        {"text": f"{weather[place].format(town)} ({number})", "kind": "weather", "year": 50 + number % 7}
        for number, (place, town) in enumerate(asked)
    ]
    for number, row in enumerate(rows):
        row |= {"same": "x", "own": str(number), "none": None, "lone": "ab"[number == 0], "price": 3}
        row["some"] = row["kind"] if number % 3 else " "
    corpus = folder / "corpus.jsonl"
    (folder / "one.jsonl").write_text(json.dumps(rows[0]) + "\n")
    corpus.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name, kind in (("docs", "docs"), ("weather", "weather")):
        part = (json.dumps(row) + "\n" for row in rows if row["kind"] == kind)
        (folder / f"{name}.jsonl").write_text("".join(part))
    run_session("train", data_root=folder / "data", dataset_path=corpus, num_examples=None, dict_size=128)
    return {"data_root": folder / "data", "num_examples": "null"}


def reporting(given):
    return given["data_root"] / "08_reporting" / "topk"


def run(pipeline, given, **more):
    result = run_command("--env=test", f"--pipelines={pipeline}", **given | more)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def interpreted(given):
    digest = json.loads((given["data_root"] / "06_models" / "topk" / "cfg.json").read_text())["sha256"]["weights"]
    own = reporting(given) / "own_labels.jsonl"
    add_own_label(own, digest, 7, "of my own")
    add_own_label(own, "another", 8, "of another")
    told = run("interpret", given)
    own.unlink()
    return told


def test_interpret_labels_latents_and_shows_the_best(given, interpreted):
    features = Features.load(reporting(given), load_sae(given["data_root"] / "06_models" / "topk"))
    assert list(features.table["latent"]) == list(range(128)) and features.summary["n_labelled"] > 5
    assert f"{features.summary['n_labelled']} of 128 latents have a label" in interpreted
    assert f"features: {reporting(given) / 'features.csv'}" in interpreted
    said = " ".join(features.table["keywords"].dropna())
    assert any(word in said for word in ("weather", "rain", "snow", "warm"))


def test_own_labels_win_where_they_are_of_this_sae(given, interpreted):
    table = Features.load(reporting(given)).table
    assert table.loc[7, ["label", "label_source"]].tolist() == ["of my own", "person"]
    assert table.loc[8, "label"] != "of another" and {*table["label_source"].dropna()} == {"keywords", "person"}


def test_a_line_that_is_no_label_ends_a_run_before_anything_is_encoded(given, interpreted):
    file = reporting(given) / "own_labels.jsonl"
    file.write_text("nonsense\n")
    result = run_command("--env=test", "--pipelines=interpret", **given)
    file.unlink()
    assert result.exit_code == 1 and f"Error: {file}, line 1, is not valid JSON" in result.output


def test_features_and_texts_are_on_one_map(given, interpreted):
    features, texts = Features.load(reporting(given)), pd.read_parquet(reporting(given) / "texts.parquet")
    assert features.summary["corpus"]["dataset_path"].endswith("corpus.jsonl")
    assert len(texts) == 400 and texts["row"].tolist() == list(range(400)) and texts["text"][399].endswith("(199)")
    names = {f"{latent} · {label}" for latent, label in features.labels.items()}
    assert {*texts["strongest"]} & names and texts["features"].map(len).eq(texts["n_features"]).all()
    for side in ("x", "y"):
        assert texts[side].between(features.table[side].min(), features.table[side].max()).all()


@pytest.mark.parametrize("question", ["label", "target", "corpora"])
def test_contrast_finds_what_sets_groups_apart(given, interpreted, question):
    folder = given["data_root"].parent
    how = {
        "label": {"label_column": "kind"},
        "target": {"target_column": "year"},
        "corpora": {"dataset_path": folder / "docs.jsonl", "contrast_path": folder / "weather.jsonl"},
    }[question]
    output = run("contrast", given, **how)
    table = pd.read_csv(reporting(given) / "contrast.csv")
    columns = {"group", "latent", "label", "keywords", "rate_a", "rate_b", "diff", "diff_lo", "diff_hi", "odds_ratio"}
    assert columns | {"or_lo", "or_hi", "auc", "z", "p", "q", "confirmed"} <= {*table.columns}
    assert table["q"].iloc[0] < 0.05 and (question == "target" or table["confirmed"].any())
    summary = json.loads((reporting(given) / "contrast.json").read_text())
    assert 0 < summary["n_q05"] <= summary["n_written"] == len(table) <= summary["n_compared"]
    sums, written, *told = (reporting(given) / "contrast.txt").read_text().splitlines()
    assert f"{summary['n_q05']:,} have q < .05" in sums and f": {len(table):,} rows" in written and sums in output
    assert "beware: nan" not in " ".join(told)
    who = {"label": "texts of weather ", "target": "texts with year above ", "corpora": "texts of weather.jsonl "}
    assert told[0].startswith(who[question]) or not table["confirmed"].any()


def test_predict_finds_few_features_and_what_they_gain(given, interpreted):
    output = run("predict", given, label_column="some")
    found = json.loads((reporting(given) / "predict.json").read_text())
    _, chosen, *_, embedding = found["scores"]
    assert embedding["inputs"] == "and the embedding" and chosen["gain"] == found["gain"] > 0.1
    assert found["features"] and not found["features"][0]["label"].startswith("latent ")
    told = (reporting(given) / "predict.txt").read_text()
    assert told.splitlines()[0] in output and told.startswith("some, on unseen texts: ")
    assert (reporting(given) / "predict_scores.json").is_file()


def test_names_of_another_sae_are_not_taken(given, interpreted, caplog):
    sae = load_sae(given["data_root"] / "06_models" / "topk")
    cfg = sae.cfg | {"data_root": str(given["data_root"])}
    assert labels_of(cfg, sae)[0] == Features.load(reporting(given), sae).labels
    caplog.clear()
    with torch.no_grad():
        sae.W_dec[0] *= -1
    assert labels_of(cfg, sae) == ({}, {})
    assert "Latents have numbers for names: these features are of another SAE" in caplog.text


def test_the_explorer_holds_what_earlier_runs_found_of_this_sae(given, interpreted):
    assert f"explorer: {reporting(given) / 'explorer.html'}" in interpreted
    run("contrast", given, label_column="kind")
    again = ("--env=test", "--pipelines=interpret", "--from-nodes=draw_explorer")
    assert run_command(*again, **given).exit_code == 0  # what is in memory otherwise is made again
    index = explorer_index(given)
    assert index["metrics"][0]["title"] == "Variance lost (FVU)" and index["n_groups"] == 1
    assert index["n_texts"] == index["n_shown"] == 400 and index["first"]
    os.utime(reporting(given) / "contrast.csv", (0, 0))  # of an SAE that was trained over
    assert run_command(*again, **given).exit_code == 0
    assert explorer_index(given)["n_groups"] == 0


def explorer_index(given):
    page = (reporting(given) / "explorer.html").read_text()
    return json.loads(re.search(r'id="index">(.*?)</script>', page)[1])


@pytest.mark.parametrize(
    ("pipeline", "more", "said"),
    [
        ("contrast", {}, "contrast needs one of label_column, target_column, contrast_path, and none is given"),
        (
            "contrast",
            {"label_column": "kind", "target_column": "year"},
            "label_column=kind and target_column=year are",
        ),
        ("contrast", {"label_column": "knd"}, "label_column='knd' is not in"),
        ("contrast", {"label_column": "kind", "control_columns": "yer"}, "control_columns='yer' is not in"),
        ("contrast", {"contrast_path": "nowhere.csv"}, "contrast_path='nowhere.csv' does not exist"),
        (
            "contrast",
            {"contrast_path": "{folder}/corpus.jsonl"},
            "is the corpus of dataset_path, too; name another one",
        ),
        (
            "contrast",
            {"contrast_path": "{folder}/one.jsonl"},
            "one.jsonl: a group needs 10 different texts or units to be",
        ),
        (
            "contrast",
            {"label_column": "same"},
            "label_column=same: groups need at least two classes; there is only 'x'",
        ),
        ("contrast", {"label_column": "none"}, "label_column=none: groups need at least two classes; there is none"),
        (
            "contrast",
            {"label_column": "own"},
            "label_column=own: groups have 400 classes, of which 0 have 10 different",
        ),
        (
            "contrast",
            {"label_column": "lone"},
            "label_column=lone: a group needs 10 different texts or units to be compared; 'b'",
        ),
        (
            "contrast",
            {"target_column": "price"},
            "target_column=price: the target needs two different numbers; its 400",
        ),
        ("contrast", {"target_column": "kind"}, "target_column=kind: the target must hold finite numbers; row 0 is"),
        ("predict", {}, "predict needs one of label_column, target_column, contrast_path, and none is given"),
        ("predict", {"label_column": "same"}, "label_column=same: groups need at least two classes; there is only 'x'"),
        ("interpret", {"name": "nobody"}, "there is no trained SAE of name='nobody'"),
    ],
)
def test_bad_input_is_told_before_anything_is_encoded(given, pipeline, more, said):
    more = {key: value.format(folder=given["data_root"].parent) for key, value in more.items()}
    result = run_command("--env=test", f"--pipelines={pipeline}", **given | more)
    assert result.exit_code == 1 and said in " ".join(result.output.split()), result.output


@pytest.fixture(scope="module")
def server():
    server = LLMServer()
    yield server
    server.die()


def test_a_language_model_labels_latents_where_one_is_named(given, server, tmp_path):
    server.reset()
    server.key = "sk-of-this-endpoint"
    project = copy_project(tmp_path / "project")
    (project / "conf" / "test" / "credentials.yml").write_text("llm:\n  api_key: sk-of-this-endpoint\n")
    asked = {"llm_base_url": server.url, "llm_model": "small", "llm_latents": 9, "llm_texts": 5}
    run_session("interpret", project, **given | {"num_examples": None} | asked)
    table = pd.read_csv(reporting(given) / "features.csv")
    by_llm = table[table["label_source"] == "llm"]
    assert len(by_llm) == 9 and set(table["label_source"].dropna()) == {"llm", "keywords"}
    assert set(by_llm["latent"]) <= set(table[table["keywords"].notna()].nlargest(9, "n_texts")["latent"])
    assert by_llm["label_auroc"].mean() > by_llm["floor_auroc"].mean()
    assert all(label in str(server.prompts) for label in by_llm["label"])
    assert json.loads((reporting(given) / "interpretation.json").read_text())["llm"]["n_labelled"] == len(by_llm)
    written = [file.read_bytes() for file in given["data_root"].rglob("*") if file.is_file()]
    assert written and not any(b"sk-of-this-endpoint" in content for content in written)

    calls, first = server.calls, (reporting(given) / "features.parquet").read_bytes()
    said = run("interpret", given, **asked)  # without the key, which nobody asks for: all answers are there
    assert server.calls == calls and (reporting(given) / "features.parquet").read_bytes() == first
    assert f"{len(by_llm)} of the labels are by small, AUROC " in said


def test_a_language_model_that_cannot_be_asked_is_told_before_anything_is_encoded(given, server):
    server.reset()
    server.key = "sk-of-this-endpoint"
    asked = {"llm_base_url": server.url, "llm_model": "large"}
    result = run_command("--env=test", "--pipelines=interpret", **given | asked)
    assert result.exit_code == 1 and "load_config" not in result.output
    said = "asks for an API key; set LLM_API_KEY, or llm: {api_key: ...} in conf/local/credentials.yml"
    assert result.output.endswith(f"Error: llm_base_url='{server.url}' {said}\n")

from __future__ import annotations

import json

import pandas as pd
import pytest

from llm_server import LLMServer
from running import copy_project, run_command, run_session
from sae_kedro import load_sae
from sae_kedro.interpretation.features import Features


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
    corpus = folder / "corpus.jsonl"
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
    return run("interpret", given)


def test_interpret_labels_latents_and_shows_the_best(given, interpreted):
    features = Features.load(reporting(given), load_sae(given["data_root"] / "06_models" / "topk"))
    assert list(features.table["latent"]) == list(range(128)) and features.summary["n_labelled"] > 5
    assert f"{features.summary['n_labelled']} of 128 latents have a label" in interpreted
    assert f"features: {reporting(given) / 'features.csv'}" in interpreted
    said = " ".join(features.table["keywords"].dropna())
    assert any(word in said for word in ("weather", "rain", "snow", "warm"))


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
    assert (reporting(given) / "contrast.txt").read_text().splitlines()[0] in output
    assert json.loads((reporting(given) / "contrast.json").read_text())["n_q05"] > 0


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
        ("contrast", {"contrast_path": "nowhere.csv"}, "dataset_path='nowhere.csv' does not exist"),
        ("interpret", {"name": "nobody"}, "there is no trained SAE of name='nobody'"),
    ],
)
def test_bad_input_is_told_before_anything_is_encoded(given, pipeline, more, said):
    result = run_command("--env=test", f"--pipelines={pipeline}", **given | more)
    assert result.exit_code == 1 and said in result.output, result.output


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

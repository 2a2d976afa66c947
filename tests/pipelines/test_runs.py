"""Real runs of every pipeline: what they write, where, and that they can be repeated."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import NamedTuple

import kedro.inspection
import pandas as pd
import plotly.io
import pytest
from kedro.framework.project import pipelines
from plotly.offline import get_plotlyjs
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import StaticEmbedding

from conftest import ROOT
from running import copy_project, files_in, run_command, run_session
from sae_kedro import BatchTopKSAE, JumpReLUSAE, TopKSAE, VanillaSAE, load_sae
from sae_kedro.models import DEFAULT_MODEL, locate_model

CLASSES = {"vanilla": VanillaSAE, "topk": TopKSAE, "batchtopk": BatchTopKSAE, "jumprelu": JumpReLUSAE}
FIGURES = ("training_curves", "density_histogram", "l0_histogram", "fvu_by_k")
REPORTING = {
    "metrics.json",
    "latents.csv",
    "history.jsonl",
    "report.html",
    "report.md",
    "run.log",
    *(f"{name}.json" for name in FIGURES),
}


class Runs(NamedTuple):
    root: Path
    encoded: dict[str, int]
    """The embedding cache after `encode`, before any training."""


@pytest.fixture(scope="module")
def runs(corpus_file, tmp_path_factory) -> Runs:
    """`encode` once, then `train` for every variant, all in one data_root."""
    root = tmp_path_factory.mktemp("runs") / "data"
    run_session("encode", data_root=root, dataset_path=corpus_file)
    encoded = files_in(root)
    for sae_type in CLASSES:
        run_session("train", data_root=root, dataset_path=corpus_file, sae_type=sae_type)
    return Runs(root, encoded)


def test_registered_pipelines():
    meaning = {"codes", "interpret", "contrast", "predict"}
    assert set(pipelines) == {"encode", "train", "evaluate", "compare", "__default__"} | meaning
    added = {node.name for node in (pipelines["__default__"] - pipelines["train"]).nodes}
    of_interpret = ("code_corpus", "interpret_trained", "show_features", "map_texts", "draw_explorer")
    assert added == {f"interpret.{name}" for name in of_interpret}


def test_every_node_is_named_after_its_function():
    for name, pipeline in pipelines.items():
        for node in pipeline.nodes:
            assert node.name.rpartition(".")[2] == node.func.__name__, name


def test_free_inputs_are_configured():
    snapshot = kedro.inspection.get_project_snapshot(ROOT)
    for pipeline in snapshot.pipelines:
        for name in pipeline.inputs:
            key = name.removeprefix("params:").split(".")[0]
            assert name == "parameters" or name in snapshot.datasets or key in snapshot.parameters, pipeline.name
    assert {pipeline.name: set(pipeline.inputs) for pipeline in snapshot.pipelines}["evaluate"] == {"parameters", "sae"}


def test_encode_writes_the_embedding_cache_and_nothing_else(runs):
    assert list(runs.encoded) == [file for file in runs.encoded if file.startswith("04_feature/embeddings/docs-")]
    assert len(runs.encoded) == 1


def test_every_text_is_encoded_once_for_all_variants(runs):
    now = files_in(runs.root)
    assert {name: time for name, time in now.items() if name.startswith("04_feature/")} == runs.encoded


@pytest.mark.parametrize("sae_type", CLASSES)
def test_train_writes_the_variant_that_was_asked_for(runs, sae_type):
    folder = runs.root / "06_models" / sae_type
    assert set(files_in(folder)) == {"cfg.json", "sae_weights.safetensors"}
    sae = load_sae(folder)
    assert type(sae) is CLASSES[sae_type]
    assert (sae.act_size, sae.dict_size, sae.top_k) == (384, 256, 8)
    assert sae.cfg["training"]["n_steps"] == 6 * math.ceil(sae.cfg["training"]["n_texts"] / 64)


@pytest.mark.parametrize("sae_type", CLASSES)
def test_train_reports_metrics(runs, sae_type):
    folder = runs.root / "08_reporting" / sae_type
    assert set(files_in(folder)) == REPORTING
    metrics = json.loads((folder / "metrics.json").read_text())
    assert (metrics["sae_type"], metrics["dict_size"], metrics["top_k"]) == (sae_type, 256, 8)
    assert 0 < metrics["fvu"] < 1  # better than the mean, even after 18 steps
    assert metrics["explained_variance"] == pytest.approx(1 - metrics["fvu"])
    assert metrics["mse"] > 0
    assert 0 < metrics["cosine"] < 1
    assert metrics["l0"] == 8 if sae_type == "topk" else 0 < metrics["l0"] < 64
    assert 0 <= metrics["dead_fraction"] <= 1
    assert metrics["split"] == "held_out"
    assert 0 < metrics["n_texts"] < metrics["n_train_texts"] < 200 - metrics["n_texts"]  # the rest calibrates
    assert isinstance(metrics["seconds"], float)


@pytest.mark.parametrize("sae_type", CLASSES)
def test_train_draws_figures_and_keeps_the_history(runs, sae_type):
    folder = runs.root / "08_reporting" / sae_type
    for name in FIGURES:
        figure = plotly.io.from_json((folder / f"{name}.json").read_text())
        assert figure.layout.title.text, name
        assert all(trace.type == "indicator" or len(trace.x) for trace in figure.data), name
    history = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    metrics = json.loads((folder / "metrics.json").read_text())
    assert [row["step"] for row in history] == [*range(5, metrics["n_steps"], 5), metrics["n_steps"]]
    assert history[-1]["fvu"] < history[0]["fvu"]
    latents = pd.read_csv(folder / "latents.csv")
    assert list(latents["latent"]) == list(range(256))
    assert latents["eval_density"].sum() == pytest.approx(metrics["l0"])
    report = (folder / "report.html").read_text()
    assert report.count('<div id="figure-') == len(FIGURES) and "<figcaption>Training</figcaption>" in report
    assert "<script src=" not in report and "<link" not in report  # opens without a network
    assert len(report) - len(get_plotlyjs()) < 50_000


def test_default_is_the_whole_flow_and_repeats_bit_for_bit(runs, corpus_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # any working directory will do
    run_session(data_root=tmp_path / "again", dataset_path=corpus_file, sae_type="topk")
    weights = Path("06_models", "topk", "sae_weights.safetensors")
    assert (tmp_path / "again" / weights).read_bytes() == (runs.root / weights).read_bytes()
    meaning = {"features.parquet", "features.csv", "together.csv", "interpretation.json"}
    meaning |= {"explorer.html", "texts.parquet"}
    assert set(files_in(tmp_path / "again" / "08_reporting" / "topk")) == REPORTING | meaning
    explorer = (tmp_path / "again" / "08_reporting" / "topk" / "explorer.html").read_text()
    assert '"title":"Variance lost (FVU)"' in explorer  # it is made after the metrics
    run_session("train", data_root=tmp_path / "again", dataset_path=corpus_file, sae_type="topk", seed=1)
    assert (tmp_path / "again" / weights).read_bytes() != (runs.root / weights).read_bytes()


def test_data_root_moves_every_output(corpus_file, tmp_path, monkeypatch):
    project = copy_project(tmp_path / "project")
    before = files_in(project)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    given = {"wandb_mode": "offline", "checkpoint_every": 10}
    run_session("train", project, data_root="~/data", dataset_path=corpus_file, **given)
    written = set(files_in(tmp_path / "home" / "data"))
    assert {file.split("/")[0] for file in written} == {"04_feature", "06_models", "08_reporting"}
    assert any(file.startswith("06_models/topk/checkpoints/step-0000010-") for file in written)
    assert any(file.startswith("08_reporting/topk/wandb/offline-run-") for file in written)
    assert files_in(tmp_path / "elsewhere") == {}
    assert files_in(project) == before


def test_relative_data_root_is_below_the_project(corpus_file, tmp_path, monkeypatch):
    project = copy_project(tmp_path / "project")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    run_session("encode", project, data_root="outputs", dataset_path=corpus_file, num_examples=20)
    assert [file.split("/")[0] for file in files_in(project / "outputs")] == ["04_feature"]
    assert files_in(tmp_path / "elsewhere") == {}


def test_evaluate_measures_the_saved_sae_on_another_corpus(runs, docs, tmp_path):
    corpus = tmp_path / "others.txt"
    corpus.write_text("\n".join(docs[:60]))
    models = files_in(runs.root / "06_models")
    trained = json.loads((runs.root / "08_reporting" / "jumprelu" / "metrics.json").read_text())
    run_session("evaluate", data_root=runs.root, dataset_path=corpus, sae_type="jumprelu", eval_fraction=1.0)
    folder = runs.root / "08_reporting" / "jumprelu"
    assert json.loads((folder / "metrics.json").read_text()) == trained  # of the training run
    metrics = json.loads((folder / "evaluate" / "metrics.json").read_text())
    assert {*files_in(folder / "evaluate")} == REPORTING - {"history.jsonl", "training_curves.json", "run.log"}
    assert metrics["dataset_path"] == str(corpus)
    assert metrics["n_texts"] == 60 and metrics["split"] == "held_out"
    assert metrics["fvu"] != trained["fvu"]
    assert metrics["name"] == trained["name"]
    assert files_in(runs.root / "06_models") == models


def test_evaluate_tells_that_texts_were_trained_on(runs, corpus_file, tmp_path, caplog):
    given = {"data_root": runs.root, "dataset_path": corpus_file, "sae_type": "vanilla"}
    file, splits = runs.root / "08_reporting" / "vanilla" / "evaluate" / "metrics.json", []
    elsewhere = tmp_path / "elsewhere"
    elsewhere.symlink_to(corpus_file.parent)
    parts = ({}, {"eval_fraction": 1.0}, {"eval_fraction": 1.0, "max_seq_length": 128}, {"eval_fraction": 0.0})
    for part in (*parts, {"eval_fraction": 1.0, "dataset_path": elsewhere / corpus_file.name}):
        caplog.clear()
        run_session("evaluate", **(given | part))
        splits.append(json.loads(file.read_text())["split"])
        assert ("This SAE was trained on some of these texts" in caplog.text) == bool(part)
    assert splits == ["held_out"] + 4 * ["partly trained on"]


def test_static_embeddings_run_and_a_sparse_encoder_is_refused(minilm, corpus_file, tmp_path):
    tokenizer = minilm.tokenizer.backend_tokenizer
    SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_dim=24)]).save(str(tmp_path / "static"))
    given = {"data_root": tmp_path / "data", "dataset_path": corpus_file}
    run_session("train", **given, model_name=tmp_path / "static")
    assert load_sae(tmp_path / "data" / "06_models" / "topk").act_size == 24
    config = tmp_path / "static" / "config_sentence_transformers.json"
    config.write_text(config.read_text().replace('"SentenceTransformer"', '"SparseEncoder"'))
    result = run_command("--env=test", "--pipelines=train", **given, model_name=tmp_path / "static")
    assert result.exit_code == 1 and "is a SparseEncoder, which gives no dense embeddings" in result.output


def test_evaluate_without_a_trained_sae_says_how_to_get_one(corpus_file, tmp_path):
    result = run_command(
        "--env=test", "--pipelines=evaluate", data_root=tmp_path / "empty", dataset_path=corpus_file, sae_type="vanilla"
    )
    assert result.exit_code == 1
    assert result.output == (
        f"Error: there is no trained vanilla SAE in data_root='{tmp_path / 'empty'}'; "
        "run `kedro run --pipelines train --params sae_type=vanilla` first; `kedro sae models` lists those that are "
        "there\n"
    )
    assert not (tmp_path / "empty").exists()


def test_evaluate_with_another_model_is_refused(runs, corpus_file):
    other = locate_model(DEFAULT_MODEL)
    result = run_command(
        "--env=test", "--pipelines=evaluate", data_root=runs.root, dataset_path=corpus_file, model_name=other
    )
    assert result.exit_code == 1
    assert result.output == (
        f"Error: model_name='{other}' is not what this SAE was trained with; set model_name='{DEFAULT_MODEL}'\n"
    )


def test_evaluate_with_damaged_weights_is_refused(runs, corpus_file, tmp_path):
    source, copy = runs.root / "06_models" / "topk", tmp_path / "06_models" / "topk"
    copy.mkdir(parents=True)
    (copy / "cfg.json").write_text((source / "cfg.json").read_text())
    (copy / "sae_weights.safetensors").write_bytes((source / "sae_weights.safetensors").read_bytes()[:-1000])
    result = run_command("--env=test", "--pipelines=evaluate", data_root=tmp_path, dataset_path=corpus_file)
    assert result.exit_code == 1
    assert result.output.startswith(f"Error: {copy / 'sae_weights.safetensors'} does not fit cfg.json: ")
    assert result.output.count("\n") == 1


def test_fewer_texts_than_one_batch_still_train(docs, tmp_path, caplog):
    corpus = tmp_path / "few.txt"
    corpus.write_text("\n".join(docs[:30]))
    run_session("train", data_root=tmp_path / "data", dataset_path=corpus)
    n_train = load_sae(tmp_path / "data" / "06_models" / "topk").cfg["training"]["n_texts"]
    assert n_train < 30
    assert f"Only {n_train} training texts, fewer than batch_size=64: every step sees all of them" in caplog.text


@pytest.mark.parametrize("damage", ["end cut off", "one byte changed"])
def test_damaged_shard_is_named_and_encoded_again(runs, corpus_file, tmp_path, caplog, damage):
    (name,) = runs.encoded
    whole = (runs.root / name).read_bytes()
    shard = tmp_path / name
    shard.parent.mkdir(parents=True)
    middle = len(whole) // 2
    changed = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    shard.write_bytes(whole[:-100] if damage == "end cut off" else changed)
    assert shard.read_bytes() != whole
    run_session("train", data_root=tmp_path, dataset_path=corpus_file)
    assert f"Shard {shard} is damaged" in caplog.text
    assert shard.read_bytes() == whole
    weights = Path("06_models", "topk", "sae_weights.safetensors")
    assert (tmp_path / weights).read_bytes() == (runs.root / weights).read_bytes()

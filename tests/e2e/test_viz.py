"""`kedro viz build` draws the flow, with previews of what a run left behind."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from kedro.framework.project import pipelines

from running import copy_project, run_process, run_session

FLOW = ("load_config", "stream_texts", "encode_texts", "buffer_activations", "train_sae", "evaluate_sae")
BETWEEN = ("cfg", "texts", "embeddings", "activations_store", "sae")
LAYERS = ["raw", "feature", "model_input", "models", "model_output", "reporting"]


@pytest.fixture(scope="module")
def api(corpus_file, tmp_path_factory) -> Path:
    """The static site's data, built in a copy of the project, because kedro-viz writes to `./build`."""
    project = copy_project(tmp_path_factory.mktemp("viz"))
    run_session(data_root=project / "data", dataset_path=corpus_file)
    run_session("compare", data_root=project / "data", dataset_path=corpus_file, sae_types="topk+vanilla", top_ks="4+8")
    result = run_process("-m", "kedro", "viz", "build", "--include-previews", folder=project)
    assert result.returncode == 0, result.stderr
    assert (project / "build" / "index.html").is_file(), result.stdout + result.stderr
    return project / "build" / "api"


def test_graph_shows_the_flow_from_parameters_to_evaluation(api):
    graph = json.loads((api / "main").read_text())
    nodes = {node["id"]: node["name"] for node in graph["nodes"]}
    edges = {(nodes[edge["source"]], nodes[edge["target"]]) for edge in graph["edges"]}
    for (before, after), dataset in zip(pairwise(FLOW), BETWEEN, strict=True):
        assert {(before, dataset), (dataset, after)} <= edges
    assert {("report_metrics", "metrics"), ("report_metrics", "latents"), ("write_report", "report")} <= edges
    assert graph["layers"] == LAYERS
    assert {pipeline["id"] for pipeline in graph["pipelines"]} == set(pipelines)


def test_first_view_folds_the_steps_before_and_after_training(api):
    inside, whole = _boxes(api / "pipelines" / "train"), _boxes(api / "main")
    results = {"report", "report_markdown", "latents"}
    between = {"cfg", "activations_store", "sae", "tracker", "evaluation"}
    assert inside["__root__"] == {"encode", "train_sae", "evaluate_sae", "report"} | between | results
    assert inside["encode"] == {*FLOW[:4], "load_model", "texts", "model", "embeddings"}
    assert whole["__root__"] == inside["__root__"] | {"interpret", "best_features", "explorer", "text_map"}
    assert whole["interpret"] == {
        *("code_corpus", "coded", "interpret_trained", "features", "show_features", "map_texts", "draw_explorer")
    }


def _boxes(graph: Path) -> dict[str, set[str]]:
    """What each modular pipeline shows, `__root__` at first."""
    content = json.loads(graph.read_text())
    names = {node["id"]: node["name"] for node in content["nodes"]}
    boxes = content["modular_pipelines"].items()
    return {name: {names[child["id"]] for child in box["children"]} - {"parameters"} for name, box in boxes}


def test_graph_of_the_comparison_ends_in_a_table_and_a_figure(api):
    graph = json.loads((api / "pipelines" / "compare").read_text())
    nodes = {node["id"]: node["name"] for node in graph["nodes"]}
    edges = {(nodes[edge["source"]], nodes[edge["target"]]) for edge in graph["edges"]}
    flow = ["plan_comparison", "cfg", "stream_texts", "texts", "encode_texts", "embeddings", "buffer_activations"]
    flow += ["activations_store", "compare_variants", "comparison", "plot_pareto", "pareto"]
    assert {*pairwise(flow), ("plan_comparison", "variants"), ("variants", "compare_variants")} <= edges
    used = {node.get("layer") for node in graph["nodes"]}
    layers = [layer for layer in graph["layers"] if layer in used]  # kedro-viz lists those of other pipelines, too
    assert layers == ["raw", "feature", "model_input", "reporting"]
    shown = {}
    for node in graph["nodes"]:
        shown[node["name"]] = json.loads((api / "nodes" / node["id"]).read_text())
    assert shown["comparison"]["preview_type"] == "TablePreview"
    assert len(shown["comparison"]["preview"]["data"]) == 4
    assert [line["name"] for line in shown["pareto"]["preview"]["data"]] == ["topk", "vanilla"]


def test_results_are_previewed(api):
    graph = json.loads((api / "main").read_text())
    shown: dict[str, Any] = {}
    for node in graph["nodes"]:
        shown[node["name"]] = json.loads((api / "nodes" / node["id"]).read_text())
    assert json.loads(shown["metrics"]["preview"])["dict_size"] == 256
    assert json.loads(shown["sae"]["preview"])["sae_type"] == "topk"
    assert shown["latents"]["preview_type"] == "TablePreview"
    assert {"label", "keywords", "label_auroc"} <= set(shown["features"]["preview"]["columns"])
    for name in ("training_curves", "density_histogram", "l0_histogram", "fvu_by_k"):
        assert shown[f"figure_{name}"]["preview"]["data"], name

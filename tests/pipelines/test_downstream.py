"""A real run with labels, scored pairs and a retrieval set: what lands in metrics.json and in the reports."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest
import torch
from scipy import stats

from running import files_in, run_command, run_session
from sae_kedro import load_sae
from sae_kedro.evaluation.measures.stability import feature_stability
from sae_kedro.evaluation.report import table

SPACES = ("original", "reconstruction", "codes")


@pytest.fixture(scope="module")
def files(docs, tmp_path_factory) -> dict[str, Path]:
    """Paragraphs that are labelled by whether they speak of returning something, and sets made of their sentences."""
    folder = tmp_path_factory.mktemp("sets")
    rows = [{"text": text, "kind": "return" if "return" in text.lower() else "other"} for text in docs]
    rows.insert(7, {"text": None, "kind": "other"})
    (folder / "docs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with (folder / "sts.csv").open("w", newline="") as handle:
        table = csv.writer(handle)
        table.writerow(["sentence1", "sentence2", "score"])
        table.writerows([text, text[: 10 + 3 * number], number] for number, text in enumerate(docs[:30]))
    documents = [{"_id": str(number), "text": text} for number, text in enumerate(docs[:60])]
    queries = [{"_id": f"q{number}", "text": docs[number][:40]} for number in range(20)]
    (folder / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in documents))
    (folder / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in queries))
    judged = "".join(f"q{number}\t{number}\t1\n" for number in range(20))
    (folder / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\n" + judged)
    return {"dataset_path": folder / "docs.jsonl", "sts_path": folder / "sts.csv", "retrieval_path": folder}


@pytest.fixture(scope="module")
def root(files, tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("downstream") / "data"
    run_session("train", data_root=root, label_column="kind", eval_fraction=0.5, num_examples=400, **files)
    return root


@pytest.fixture(scope="module")
def metrics(root):
    return json.loads((root / "08_reporting" / "topk" / "metrics.json").read_text())


def test_geometry_baselines_and_intervals_are_always_there(metrics):
    for name in ("similarity_kept", "neighbours_kept"):
        for space in ("reconstruction", "codes"):
            low, high = metrics[f"{name}_{space}_ci95"]
            assert 0 < low < metrics[f"{name}_{space}"] < high < 1
    assert 0 < metrics["fvu_pca"] < 1 and metrics["fvu_random_dictionary"] > metrics["fvu"]
    for name in ("fvu", "l0", "cosine", "fvu_pca", "fvu_random_dictionary"):
        low, high = metrics[f"{name}_ci95"]
        assert low <= metrics[name] <= high and (low < high or name == "l0")


def test_probes_learn_from_training_texts_and_are_scored_on_held_out_ones(metrics):
    assert metrics["probe_n_test"] == metrics["n_texts"] and metrics["probe_n_classes"] == 2
    assert metrics["probe_n_train"] == metrics["n_train_texts"]
    for probe in ("probe", "probe_k1", "probe_k5", "probe_k20"):
        for space in SPACES:
            low, high = metrics[f"{probe}_{space}_ci95"]
            assert 0.4 < low <= metrics[f"{probe}_{space}"] <= high <= 1
    assert metrics["probe_original"] >= metrics["probe_majority"] - 0.05


def test_similarity_and_retrieval_are_those_of_the_embeddings(metrics, files, minilm, docs):
    cut = [text[: 10 + 3 * number] for number, text in enumerate(docs[:30])]
    a, b = (minilm.encode(texts, convert_to_tensor=True) for texts in (docs[:30], cut))
    found = torch.cosine_similarity(a, b).tolist()
    assert metrics["sts_original"] == pytest.approx(stats.spearmanr(found, range(30)).statistic, abs=0.01)
    assert metrics["sts_n_pairs"] == 30 and -1 <= metrics["sts_codes"] <= 1
    documents, queries = (minilm.encode(texts) for texts in (docs[:60], [text[:40] for text in docs[:20]]))
    scores = queries @ documents.T
    ranks = (scores > scores.diagonal()[:, None]).sum(axis=1).tolist()
    expected = sum(1 / torch.log2(torch.tensor(2.0 + rank)).item() for rank in ranks if rank < 10) / 20
    assert metrics["ndcg_at_10_original"] == pytest.approx(expected, abs=0.01)
    assert 0 < metrics["ndcg_at_10_codes"] <= 1 and metrics["retrieval_n_documents"] == 60


def test_reports_show_them(root, metrics):
    folder = root / "08_reporting" / "topk"
    page = (folder / "report.md").read_text()
    assert f"| {metrics['sts_original']:#.4g} [" in page and "| ndcg_at_10 |" in page and "| probe_k5 |" in page
    report = (folder / "report.html").read_text()
    for title in ("Neighbours kept", "Labels predicted", "Agreement with people", "Retrieval (nDCG at 10)"):
        assert f"<h3>{title}</h3>" in report


def test_every_metric_has_a_meaning(metrics):
    assert "Others" not in table(metrics | {"feature_stability": 0.5})


def test_texts_of_sets_are_encoded_once(root, files):
    before = files_in(root / "04_feature")
    assert len({name.split("/")[1].split("-")[0] for name in before}) == 3  # docs, sts, retrieval
    run_session("evaluate", data_root=root, eval_fraction=0.5, num_examples=400, **files)
    assert files_in(root / "04_feature") == before
    metrics = json.loads((root / "08_reporting" / "topk" / "evaluate" / "metrics.json").read_text())
    assert "sts_codes" in metrics and "probe_codes" not in metrics  # no label_column was given
    assert load_sae(root / "06_models" / "topk").cfg["label_column"] == "kind"


def test_features_are_looked_for_in_another_seed(root, tmp_path, caplog):
    run_session("compare", data_root=root, sae_types="topk", top_ks=8, seed=1, num_examples=400, eval_fraction=0.5)
    (other,) = (root / "06_models" / "compare").glob("topk-*")
    run_session("evaluate", data_root=root, eval_fraction=0.5, num_examples=400, stability_path=other)
    metrics = json.loads((root / "08_reporting" / "topk" / "evaluate" / "metrics.json").read_text())
    a, b = load_sae(root / "06_models" / "topk"), load_sae(other)
    assert metrics["feature_stability"] == feature_stability(a.W_dec, b.W_dec) < 1
    assert "flatters" not in caplog.text
    itself = root / "06_models" / "topk"
    result = run_command("--pipelines=evaluate", "--env=test", data_root=root, stability_path=itself)
    assert result.exit_code == 1 and result.output.startswith(
        f"Error: stability_path='{itself}' is where this SAE itself is"
    )
    shutil.copytree(itself, tmp_path / "copy")
    run_session("evaluate", data_root=root, num_examples=400, stability_path=tmp_path / "copy")
    metrics = json.loads((root / "08_reporting" / "topk" / "evaluate" / "metrics.json").read_text())
    assert metrics["feature_stability"] == 1 and "Both SAEs have seed=0, so feature_stability flatters" in caplog.text

    cfg = json.loads((other / "cfg.json").read_text()) | {"model_name": "another"}
    (tmp_path / "cfg.json").write_text(json.dumps({key: value for key, value in cfg.items() if key != "sha256"}))
    shutil.copy(other / "sae_weights.safetensors", tmp_path)
    result = run_command("--pipelines=evaluate", "--env=test", data_root=root, stability_path=tmp_path)
    assert result.exit_code == 1 and result.output.startswith(
        f"Error: stability_path='{tmp_path}' holds an SAE of model_n"
    )


def test_a_label_for_every_text_is_no_class(root, files, tmp_path, caplog):
    unlike = tmp_path / "docs.csv"
    with files["dataset_path"].open() as lines, unlike.open("w", newline="") as handle:
        texts = [json.loads(line)["text"] for line in lines]
        table = csv.writer(handle)
        table.writerow(["text", "id"])
        table.writerows([text, number] for number, text in enumerate(texts))
    run_session("evaluate", data_root=root, dataset_path=unlike, eval_fraction=1.0, num_examples=90, label_column="id")
    assert "No probes: label_column='id' gives" in caplog.text
    metrics = json.loads((root / "08_reporting" / "topk" / "evaluate" / "metrics.json").read_text())
    assert metrics["n_texts"] == 90 and "probe_codes" not in metrics and "fvu_pca" not in metrics  # nothing to fit on


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("label_column", "kinds", "label_column='kinds' is not in {docs}, whose columns are text, kind; did you mean"),
        ("sts_path", "nowhere.csv", "sts_path='nowhere.csv' does not exist"),
        ("sts_path", "pyproject.toml", "sts_path='pyproject.toml' is not a .jsonl or .csv file, plain or compressed"),
        ("stability_path", "src", "stability_path='src' cannot be used: src is not a saved SAE: it has no cfg.json"),
        ("retrieval_path", "src", "retrieval_path='src' must be a folder with queries.jsonl, corpus.jsonl and qrels"),
    ],
)
def test_what_cannot_be_read_is_refused_before_a_node_starts(files, tmp_path, key, value, sentence, caplog):
    given = {"data_root": tmp_path / "data", "dataset_path": files["dataset_path"], key: value}
    result = run_command("--env=test", **given)
    assert result.exit_code == 1 and result.output.count("\n") == 1
    assert result.output.startswith("Error: " + sentence.format(docs=files["dataset_path"]))
    assert "load_config" not in caplog.text and not (tmp_path / "data").exists()

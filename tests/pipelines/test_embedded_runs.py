from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from running import files_in, run_command, run_session
from sae_kedro import Features, load_sae


@pytest.fixture(scope="module")
def given(docs, tmp_path_factory):
    """A corpus with embeddings of 24 numbers beside texts and labels, and the same embeddings alone."""
    folder = tmp_path_factory.mktemp("own")
    rng = np.random.default_rng(0)
    kinds = np.arange(len(docs)) % 3
    vectors = rng.standard_normal((len(docs), 24)) / 4 + np.eye(24)[kinds]
    vectors = vectors.astype(np.float16)
    np.save(folder / "vectors.npy", vectors)
    table = {"text": docs, "embedding": list(vectors), "kind": [f"kind {kind}" for kind in kinds]}
    pq.write_table(pa.table(table), folder / "corpus.parquet")
    return folder


def metrics(root, name):
    return json.loads((root / "08_reporting" / name / "metrics.json").read_text())


def test_a_column_of_embeddings_goes_all_the_way_without_a_model(given, tmp_path):
    nowhere = "/there/is/no/such/model"
    own = {"dataset_path": given / "corpus.parquet", "embedding_column": "embedding", "data_root": tmp_path}
    own |= {"model_name": nowhere, "num_examples": "null", "label_column": "kind"}
    result = run_command("--env=test", **own)
    assert result.exit_code == 0, result.output
    sae = load_sae(tmp_path / "06_models" / "topk")
    assert (sae.act_size, sae.cfg["model_name"]) == (24, nowhere)
    trained = metrics(tmp_path, "topk")
    assert trained["split"] == "held_out" and trained["probe_original"] > 0.9
    encoded = files_in(tmp_path / "04_feature")
    assert run_command("--env=test", "--pipelines=evaluate", **own | {"eval_fraction": 0.5}).exit_code == 0
    assert metrics(tmp_path, "topk/evaluate")["n_texts"] > 2 * trained["n_texts"]
    compared = run_command("--env=test", "--pipelines=compare", **own | {"label_column": "null", "sae_types": "topk"})
    assert compared.exit_code == 0 and (tmp_path / "08_reporting" / "compare" / "comparison.csv").is_file()
    assert files_in(tmp_path / "04_feature") == encoded


def test_an_array_trains_evaluates_and_goes_on(given, tmp_path, caplog):
    own = {"dataset_path": given / "vectors.npy", "data_root": tmp_path, "num_examples": "null", "batch_size": 32}
    run_session(None, **own | {"num_examples": None}, checkpoint_every=40)
    table = Features.load(tmp_path / "08_reporting" / "topk").table
    assert set(table["status"]) <= {"wordless", "dead"} and table["label"].isna().all() and (table["n_texts"] > 0).any()
    assert "Latents get no labels: those need 50 texts, and there are 0" in caplog.text
    sae = load_sae(tmp_path / "06_models" / "topk")
    assert (sae.act_size, sae.cfg["model_name"]) == (24, None) and not (tmp_path / "04_feature").exists()
    assert list((tmp_path / "06_models" / "topk" / "checkpoints").iterdir())
    weights = (tmp_path / "06_models" / "topk" / "sae_weights.safetensors").read_bytes()
    run_session("train", **own | {"num_examples": None}, checkpoint_every=40, resume=True)
    assert (tmp_path / "06_models" / "topk" / "sae_weights.safetensors").read_bytes() == weights
    assert run_command("--env=test", "--from-nodes=evaluate_sae", **own).exit_code == 0
    wordless = run_command("--env=test", "--pipelines=interpret", **own)
    said = f"interpret needs texts, and {given / 'vectors.npy'} holds embeddings alone; give the texts as dataset_path"
    assert wordless.exit_code == 1 and wordless.output.startswith(f"Error: {said}")
    other = run_command("--env=test", "--pipelines=evaluate", **own | {"act_size": 16})
    size = "whose embeddings have size 24; leave act_size at null"
    assert other.output == f"Error: act_size=16 does not match {given / 'vectors.npy'}, {size}\n"
    for key, value in {"sts_path": given / "corpus.parquet", "label_column": "kind"}.items():
        refused = run_command("--env=test", "--pipelines=evaluate", **own | {key: value})
        assert refused.exit_code == 1 and refused.output.startswith(f"Error: {key}=")

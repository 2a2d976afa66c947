"""Parts of a run that start behind a step: what only lives in memory is made again from what is on disk."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from running import files_in, run_command, run_session

WEIGHTS = Path("06_models", "topk", "sae_weights.safetensors")


@pytest.fixture(scope="module")
def given(docs, tmp_path_factory):
    """What every run of this module is given: a labelled corpus, and a folder with the outputs of a whole run."""
    folder = tmp_path_factory.mktemp("parts")
    rows = ({"text": text, "kind": "long" if len(text) > 150 else "short"} for text in docs)
    (folder / "labelled.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    given = {"data_root": folder / "data", "dataset_path": folder / "labelled.jsonl", "label_column": "kind"}
    given |= {"num_examples": 400, "eval_fraction": 0.5}
    run_session("train", **given)
    return given


def measured(given):
    metrics = json.loads((given["data_root"] / "08_reporting" / "topk" / "metrics.json").read_text())
    return {key: value for key, value in metrics.items() if "seconds" not in key}


@pytest.mark.parametrize("part", ["--from-nodes=train_sae", "--from-nodes=evaluate_sae", "--tags=evaluate"])
def test_a_part_gives_what_the_whole_run_gave_and_encodes_nothing(given, part):
    root = given["data_root"]
    weights, metrics, encoded = (root / WEIGHTS).read_bytes(), measured(given), files_in(root / "04_feature")
    assert "probe_codes" in metrics
    for _ in range(2):
        result = run_command("--env=test", part, **given)
        assert result.exit_code == 0, result.output
        assert "encode_texts" not in result.output
        assert (root / WEIGHTS).read_bytes() == weights
        assert measured(given) == metrics
        assert files_in(root / "04_feature") == encoded


def test_a_part_follows_the_parameters_of_its_own(given):
    result = run_command("--env=test", "--from-nodes=train_sae", **given | {"name": "other"}, top_k=4)
    assert result.exit_code == 0, result.output
    metrics = json.loads((given["data_root"] / "08_reporting" / "other" / "metrics.json").read_text())
    assert metrics["top_k"] == 4 and metrics["l0"] == 4


def test_training_alone_writes_an_sae_and_no_report(given):
    result = run_command("--env=test", "--tags=train", **given | {"name": "alone"})
    assert result.exit_code == 0, result.output
    root = given["data_root"]
    assert (root / "06_models" / "alone" / "cfg.json").is_file()
    assert not (root / "08_reporting" / "alone" / "metrics.json").exists()


def test_the_report_has_training_curves_where_they_are(given):
    folder = given["data_root"] / "08_reporting" / "topk"

    def figures(*part, place=folder):
        result = run_command("--env=test", *part, **given)
        assert result.exit_code == 0, result.output
        return re.findall("<figcaption>(.*)</figcaption>", (place / "report.html").read_text())

    rest = ["How often each latent fires", "Reconstruction against k", "Active latents per text"]
    assert figures("--from-nodes=evaluate_sae") == ["Training", *rest]
    assert figures("--pipelines=evaluate", place=folder / "evaluate") == rest
    (folder / "training_curves.json").unlink()
    assert figures("--tags=evaluate") == rest


def test_what_cannot_be_made_again_is_named(given):
    result = run_command("--env=test", "--nodes=plot_evaluation", **given)
    assert result.exit_code == 1
    assert result.output.startswith("Error: what was chosen to run needs evaluation, which no file holds")

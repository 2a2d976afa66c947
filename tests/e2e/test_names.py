"""Runs that have a name have folders of their own, and whatever comes after them finds them by it."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from running import run_command, run_process, run_session
from sae_kedro import load_sae
from sae_kedro.cli import sae


@pytest.fixture(scope="module")
def root(corpus_file, tmp_path_factory):
    """Two SAEs of one variant, and one of another that has a name."""
    root = tmp_path_factory.mktemp("named")
    given = {"data_root": root, "dataset_path": corpus_file}
    run_session("train", **given)
    run_session("train", **given, name="wide", dict_size=512)
    run_session("train", **given, name="jump.1", sae_type="jumprelu", checkpoint_every=5)
    return root


def metrics(root, name):
    return json.loads((root / "08_reporting" / name / "metrics.json").read_text())


def test_each_run_has_folders_of_its_own(root):
    assert {folder.name for folder in (root / "06_models").iterdir()} == {"topk", "wide", "jump.1"}
    assert [load_sae(root / "06_models" / name).dict_size for name in ("topk", "wide")] == [256, 512]
    assert (root / "08_reporting" / "jump.1" / "history.jsonl").is_file()
    assert list((root / "06_models" / "jump.1" / "checkpoints").iterdir())
    assert metrics(root, "wide")["name"] == "wide" and metrics(root, "topk")["name"].startswith("topk-256-k8-")


def test_an_evaluation_takes_the_same_name(root, corpus_file):
    before = metrics(root, "topk"), metrics(root, "jump.1")
    given = {"data_root": root, "dataset_path": corpus_file, "eval_fraction": 0.5}
    run_session("evaluate", **given, name="jump.1")
    evaluated = metrics(root, "jump.1/evaluate")
    assert evaluated["sae_type"] == "jumprelu" and evaluated["n_texts"] > 80
    assert (metrics(root, "topk"), metrics(root, "jump.1")) == before


def test_a_name_that_nobody_has_is_told(root, corpus_file):
    result = run_command("--env=test", "--pipelines=evaluate", data_root=root, dataset_path=corpus_file, name="wid")
    assert result.exit_code == 1
    assert result.output == (
        f"Error: there is no trained SAE of name='wid' in data_root='{root}'; run `kedro run --pipelines train "
        "--params name=wid` first; `kedro sae models` lists those that are there\n"
    )


def test_models_are_listed_without_torch(root):
    listed = json.loads(CliRunner().invoke(sae, ["models", "--data-root", str(root), "--json"]).output)
    assert [(row["name"], row["variant"], row["latents"], row["k"]) for row in listed] == [
        ("jump.1", "jumprelu", 256, 8),
        ("topk", "topk", 256, 8),
        ("wide", "topk", 512, 8),
    ]
    assert all(0 < row["FVU"] < 1 and row["corpus"].endswith("docs.jsonl") for row in listed)
    script = "import sys; from sae_kedro.cli import models; print('torch' in sys.modules)"
    assert run_process("-c", script).stdout == "False\n"
    empty = CliRunner().invoke(sae, ["models", "--data-root", str(root / "nowhere")])
    assert empty.output == f"there is no trained SAE in {root / 'nowhere' / '06_models'}\n"

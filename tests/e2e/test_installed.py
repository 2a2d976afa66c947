from __future__ import annotations

import csv
import json

import pytest
from click.testing import CliRunner

from running import run_process
from sae_kedro.cli.installed import commands


@pytest.fixture(scope="module")
def folder(docs, tmp_path_factory):
    """A folder that is no project, with a table in it."""
    folder = tmp_path_factory.mktemp("anywhere")
    with (folder / "texts.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["utterance", "kind"], *([text, len(text) % 2] for text in docs[:120])])
    return folder


@pytest.fixture
def call(folder, monkeypatch):
    monkeypatch.chdir(folder)
    return lambda *arguments: CliRunner().invoke(commands(), [*map(str, arguments)])


SMALL = (
    "--dict-size",
    64,
    "--top-k",
    "4",
    "--batch-size=32",
    "--n-epochs",
    2,
    "--text-column",
    "utterance",
    "--device",
    "cpu",
)


def cfg(folder, name):
    return json.loads((folder / "data" / "06_models" / name / "cfg.json").read_text())


def test_options_are_keys_of_the_configuration_and_of_the_variant(folder):
    options = ("--sae-type", "jumprelu", "--bandwidth", "0.01", "--input-unit-norm", "--max-seq-length=null")
    done = run_process("-m", "sae_kedro", "train", "texts.csv", *SMALL, *options, "--name", "of-mine", folder=folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "report: data/08_reporting/of-mine/report.html"
    assert "INFO    [6/13] train_sae" in done.stderr and "Using '" not in done.stderr  # logging as in the project
    saved = cfg(folder, "of-mine")
    assert {key: saved[key] for key in ("sae_type", "bandwidth", "input_unit_norm", "dict_size", "max_seq_length")} == {
        "sae_type": "jumprelu",
        "bandwidth": 0.01,
        "input_unit_norm": True,
        "dict_size": 64,
        "max_seq_length": None,
    }


def test_pipelines_follow_each_other_and_models_are_listed(folder, call):
    assert call("train", "texts.csv", *SMALL, "--label-column", "kind").exit_code == 0
    evaluated = call("evaluate", "--eval-fraction", "0.5")  # of the corpus that it was trained on
    assert evaluated.exit_code == 0 and "evaluate/report.html" in evaluated.output
    report = json.loads((folder / "data" / "08_reporting" / "topk" / "evaluate" / "metrics.json").read_text())
    assert (report["dataset_path"], report["split"]) == ("texts.csv", "partly trained on")
    small = [option for option in SMALL if option not in ("--top-k", "4")]
    compared = call("compare", "texts.csv", *small, "--sae-types", "topk+vanilla", "--top-ks", "4+8")
    assert compared.exit_code == 0 and compared.output.count("topk") == 4, compared.output
    assert json.loads(call("models", "--json").output)[-1]["name"] == "topk"
    assert "texts.csv" not in call("cache", "list").output and "texts-" in call("cache", "list").output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["trian", "texts.csv"], "there is no command 'trian'; choose one of cache, codes, compare,"),
        (["train"], "Missing argument 'DATASET'"),
        (["train", "nowhere.csv"], "dataset_path='nowhere.csv' does not exist"),
        (["train", "texts.csv", "--dict-sizee", "5"], "'dict_sizee' is not a known key; did you mean 'dict_size'?"),
        (["train", "texts.csv", "--text-colum", "x"], "'text_colum' is not a known key; did you mean 'text_column'?"),
        (["train", "texts.csv", "--bandwidth"], "--bandwidth needs a value"),
        (["train", "texts.csv", "more.csv"], "'more.csv' is too much: there is one DATASET, and all else are options"),
        (["train", "texts.csv", "--top-k", "many"], "top_k='many' is not allowed: it must be a whole number"),
        (
            ["--pipelines", "trian"],
            "there is no pipeline 'trian'; choose one of encode, train, evaluate, compare, codes",
        ),
    ],
)
def test_bad_input_is_told_in_a_sentence(arguments, said, call):
    result = call(*arguments)
    assert result.exit_code != 0 and said in result.output and "Traceback" not in result.output


def test_help_shows_every_key_once(call):
    shown = call("train", "--help").output
    assert "--dict-size VALUE" in shown and "--resume / --no-resume" in shown and "train [OPTIONS] DATASET" in shown
    assert shown.index("--dict-size") < shown.index("--text-column") < shown.index("--top-ks")
    assert (
        call("train", "-h").output == shown
        and "Run the pipeline compare." in call("--help").output
        and call("--version").output.strip()[0].isdigit()
    )

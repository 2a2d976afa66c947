"""`kedro sae explain` on a small real run: bars that a person reads, and an object that a program reads."""

from __future__ import annotations

import json
import re

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from running import run_session
from sae_kedro import explain, fit, load_sae, save_sae
from sae_kedro.activations.shards import CACHES, read_shard
from sae_kedro.cli import sae as commands
from sae_kedro.cli.bars import Bars
from sae_kedro.interpretation.explain import Explanation, Pair

A, B, C = "Open the file and read its lines.", "Read a line from an open file.", "Return the sine of x."


@pytest.fixture(scope="module")
def root(corpus_file, tmp_path_factory):
    """A trained SAE whose latents have no names, and one of vectors that nobody knows a model of."""
    root = tmp_path_factory.mktemp("explained")
    run_session("train", data_root=root, dataset_path=corpus_file)
    x = np.random.default_rng(0).normal(size=(64, 8)).astype(np.float32)
    np.save(root / "vectors.npy", x)
    save_sae(fit(x, dict_size=16, top_k=2, device="cpu"), root / "06_models" / "vectors")
    return root


@pytest.fixture
def call(root, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")

    def call(*arguments, name="topk"):
        given = ["explain", *arguments, "--data-root", str(root), *(["--name", name] if name else [])]
        return CliRunner().invoke(commands, given)

    return call


@pytest.fixture
def table(root):
    """Write a table of features, and take it away again."""
    file = root / "08_reporting" / "topk" / "features.parquet"

    def write(**columns):
        pd.DataFrame(columns).to_parquet(file)
        return file

    yield write
    file.unlink(missing_ok=True)


def object_of(result):
    assert result.exit_code == 0, (result.output, result.exception)
    return json.loads(result.stdout)


def test_json_adds_up_to_the_cosine_of_the_model(call, root, minilm):
    told = object_of(call(A, B, "--json"))
    x, y = minilm.encode([A, B])
    assert told["cosine"] == pytest.approx(float(x @ y), abs=1e-5)
    assert sum(term["value"] for term in told["terms"]) == pytest.approx(told["cosine"], abs=1e-9) == told["sum"]
    assert sum(told["kinds"].values()) == pytest.approx(told["cosine"], abs=1e-9)
    assert [text["text"] for text in told["texts"]] == [A, B] and told["run"] == "topk"
    sae = load_sae(root / "06_models" / "topk")
    own = explain(sae, x, y)
    assert {term["latent"] for term in told["terms"]} == {term.latent for term in own.terms}
    for term in told["terms"]:
        assert {"kind", "latent", "label", "value", "label_auroc"} <= term.keys()
        if term["kind"] == "first":
            first, second = term["words"]
            assert [word for word, _ in first] == re.findall(r"\w+|\.", A) and second is None
    ranked, apart = object_of(call(A, B, C, "--json")), object_of(call(A, B, "--difference", "--json"))
    assert ranked["cosine_difference"] == pytest.approx(ranked["sum"]) and ranked["sum"] > 0.2
    assert apart["squared_distance"] == pytest.approx(2 - 2 * told["cosine"])
    assert object_of(call(A, "--json"))["sum"] == pytest.approx(1)


def test_a_byte_that_is_no_text_does_not_stop_it(call):
    told = object_of(call("Open the file \udc80.", B, "--json"))
    assert told["texts"][0]["text"] == "Open the file ?."


def test_bars_tell_what_two_texts_share_and_what_the_sae_does_not_explain(call, table):
    table(latent=range(256), label=[f"name of {i}" if i % 2 else None for i in range(256)], label_auroc=[0.7] * 256)
    result = call(A, B)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[:2] == [f"first  {A}", f"second {B}"] and lines[3].startswith("cosine 0.")
    starts = ("both ", "only the first ", "only the second ", "what all texts share ", "not explained by the SAE ")
    numbers = [float(next(line for line in lines if line.startswith(s)).removeprefix(s).split()[0]) for s in starts]
    assert sum(numbers) == pytest.approx(float(lines[3].split()[1].rstrip(",")), abs=0.03)
    assert "█" in result.stdout and "  name of " in result.stdout and "  latent " in result.stdout
    assert "no names yet" not in result.stdout


def test_pairs_are_told_once_whichever_text_has_which_latent(capsys):
    pairs = [Pair(1, 2, ("a", "b"), 0.2), Pair(2, 1, ("b", "a"), 0.1), Pair(1, 3, ("a", "c"), 0.004)]
    Bars(6).pairs(Explanation("cosine", 1.0, [], {}, pairs), 6)
    assert capsys.readouterr().out == "\nrelated, not the same\n  0.30  a ~ b\n"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([A], ["what the text is made of", "features", "together"]),
        ([A, B, C], ["the first is closer to the query", "for the first", "for the second"]),
        ([A, C, B], ["the second is closer to the query"]),
        ([A, B, "--difference"], ["squared distance ", " = 2 - 2 x cosine 0."]),
        ([A + " Go on." * 300], ["the model reads the beginning only of: Open the file"]),
        ([A, B], ["latents have no names yet"]),
    ],
)
def test_other_questions_have_headings_of_their_own(call, given, said):
    result = call(*given)
    assert result.exit_code == 0 and [words for words in said if words not in result.stdout] == []


def test_the_run_that_was_trained_last_is_taken(call, root):
    result = call("--row", "3", "--corpus", str(root / "vectors.npy"), "--json", name=None)
    assert object_of(result)["run"] == "vectors"


def test_neighbours_are_those_of_the_embeddings_and_each_is_explained(call, root, docs):
    told = object_of(call(docs[7], "--corpus", "--neighbours", "4", "--json"))
    used = docs[:200]  # num_examples of the test environment
    (shard,) = (root / CACHES).glob("*/shard-*.parquet")
    x = np.stack(read_shard(shard, ["embedding"])[1]["embedding"].to_numpy())
    cosines = x @ x[7]
    best = [i for i in np.argsort(-cosines) if used[i] != docs[7]][:4]
    assert [each["texts"][1]["row"] for each in told["neighbours"]] == best
    assert [each["texts"][1]["text"] for each in told["neighbours"]] == [used[i] for i in best]
    for each, i in zip(told["neighbours"], best, strict=True):
        assert each["cosine"] == pytest.approx(float(cosines[i]), abs=1e-5) == each["sum"]
    shown = call("--row", "7", "--corpus", "--neighbours", "2")
    assert shown.stdout.count("together") == 2 and f"{cosines[best[0]]:.2f}  " in shown.stdout


def test_rows_without_texts_are_explained(call, root):
    x = np.load(root / "vectors.npy")
    told = object_of(call("--row", "3", "--row", "9", "--corpus", str(root / "vectors.npy"), "--json", name="vectors"))
    assert told["cosine"] == pytest.approx(x[3] @ x[9] / np.linalg.norm(x[3]) / np.linalg.norm(x[9]), abs=1e-6)
    assert told["texts"] == [{"text": None, "row": 3}, {"text": None, "row": 9}]
    near = call("--row", "3", "--corpus", str(root / "vectors.npy"), name="vectors").stdout
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    assert near.startswith("nearest to  row 3\n") and f"  row {np.argsort(-unit @ unit[3])[1]}\n" in near


@pytest.mark.parametrize(
    ("given", "name", "sentence"),
    [
        (["  ", B], "topk", "text 1 is empty; give one with at least a word"),
        ([], "topk", "explain takes one to three texts (or rows, with --row), and 0 are given"),
        ([A, B, "--name", "tokp"], None, "there is no run 'tokp' in {root}/06_models; did you mean 'topk'?"),
        ([A, B], "vectors", "embeddings of an unknown model (model_name is null)"),
        ([A, "--difference"], "topk", "--difference tells what sets two texts apart, and 1 are given"),
        (["--row", "200"], "topk", "there is no row 200 in "),
        (["--row", "0"], "vectors", "run 'vectors' does not say which corpus its SAE is of; name one: --corpus"),
        (["--row", "0", "--corpus", "{root}/vectors.npy"], "topk", "takes embeddings (n, 384), and"),
        ([A, "--corpus", "nowhere.csv"], "topk", "dataset_path='nowhere.csv' does not exist"),
    ],
)
def test_bad_input_is_told_in_a_sentence(call, root, given, name, sentence):
    result = call(*(each.format(root=root) for each in given), name=name)
    assert result.exit_code == 1 and result.output.startswith("Error: ") and result.output.count("\n") == 1
    assert sentence.format(root=root) in result.output


def test_a_model_that_is_not_there_and_one_folder_without_runs_are_told(call, root, tmp_path):
    sae = load_sae(root / "06_models" / "topk")
    sae.cfg["model_name"] = str(tmp_path / "no-model")
    save_sae(sae, tmp_path / "06_models" / "moved")
    for given, sentence in (
        (tmp_path, "no-model' is neither a folder nor "),
        (tmp_path / "empty", f"there is no trained SAE in {tmp_path / 'empty' / '06_models'}; `kedro run` trains one"),
    ):
        result = CliRunner().invoke(commands, ["explain", A, B, "--data-root", str(given)])
        assert result.exit_code == 1 and sentence in result.output and result.output.count("\n") == 1


def test_names_of_another_sae_are_not_taken(call, table, root):
    file = table(latent=range(300), label=["x"] * 300, label_auroc=[0.5] * 300)
    said = f"Latents have numbers for names: {file} is of another SAE than "
    result = call(A, B, "--json")
    assert result.exit_code == 0 and result.stderr.startswith(said) and json.loads(result.stdout)["sum"] > 0
    rows = pa.table({"latent": [1], "label": ["x"], "label_auroc": [0.9]})
    own = json.loads((root / "06_models" / "topk" / "cfg.json").read_text())["sha256"]["weights"]
    for digest in (own, own[::-1]):
        pq.write_table(rows.replace_schema_metadata({"sae_sha256": digest}), file)
        assert call(A, B).stderr.startswith(said) == (digest != own)
    table(latent=[1], name=["x"])
    assert "features.parquet cannot be read as a table of features" in call(A, B).output

"""The page as a file: what is in it, how large it is, and what it allows to run."""

import base64
import hashlib
import json
import re

import numpy as np
import pytest
import torch

from explorer_corpus import EVIL, METRICS, inflated, small_page
from explorer_corpus import small as made
from sae_kedro import InputError
from sae_kedro.explorer import build
from sae_kedro.explorer.build import SCRIPTS, write_explorer
from sae_kedro.explorer.told import error_of, scales
from sae_kedro.sae.topk import TopKSAE

SCRIPT = re.compile(r"<script([^>]*)>(.*?)</script>", re.DOTALL)


@pytest.fixture(scope="module")
def small():
    return made()


@pytest.fixture(scope="module")
def page():
    return small_page()


def parts(page):
    """Return the policy, the script that runs, and data by id."""
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1]
    scripts = SCRIPT.findall(page)
    running = [text for given, text in scripts if "type=" not in given]
    data = {re.search(r'id="(\w+)"', given)[1]: text for given, text in scripts if "type=" in given}
    assert len(running) == 1
    return policy, running[0], data


def test_only_its_own_script_and_style_run(page):
    policy, script, _ = parts(page)
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)[1]
    allowed = dict(rule.split(" ", 1) for rule in policy.split("; "))
    for name, text in (("script-src", script), ("style-src", style)):
        assert allowed[name] == f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
    assert allowed["default-src"] == allowed["connect-src"] == allowed["base-uri"] == allowed["form-action"] == "'none'"
    assert "unsafe" not in policy


def test_nothing_is_fetched_and_no_handler_is_inline(page):
    _, script, data = parts(page)
    markup = SCRIPT.sub("", page)
    assert not re.findall(r"\son\w+\s*=|style=|javascript:|src=|url\(", markup)
    assert set(re.findall(r"https?://[^\s'\"]*", page.replace("".join(data.values()), ""))) == {
        "http://www.w3.org/2000/svg"
    }
    assert not re.findall(r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b|Function\(", script)
    assert "sae-kedro-server" not in markup


def test_what_names_hold_is_escaped(page):
    _, _, data = parts(page)
    index = json.loads(data["index"])
    assert index["name"] == index["dataset_path"] == EVIL
    assert EVIL not in page


def test_a_server_has_its_token_in_the_page(small):
    page = small.explorer().page("abc")
    assert '<meta name="sae-kedro-server" content="abc">' in page
    assert "connect-src 'self'" in parts(page)[0]


def test_scripts_are_small_and_all_there():
    static = build.files("sae_kedro.explorer").joinpath("static")
    there = {file.name for file in static.iterdir() if file.name.endswith(".js")}
    assert there == set(SCRIPTS)
    assert sum(len(static.joinpath(name).read_bytes()) for name in SCRIPTS) < 150_000


def test_texts_are_those_of_the_corpus(page, small):
    _, _, data = parts(page)
    found = json.loads(inflated(data["texts"]))
    index = json.loads(data["index"])
    rows = np.frombuffer(inflated(data["codes"]), np.uint32, index["n_shown"])
    assert sorted(rows) == list(range(len(small.texts)))
    assert found["cut"] == {str(rows.tolist().index(6)): len(small.texts[6])}
    for row, text in zip(rows, found["texts"], strict=True):
        assert text == small.texts[row][: build.LONGEST].replace("\ud800", "?")


def test_a_file_is_the_page_to_the_last_byte(small, page, tmp_path):
    file = tmp_path / "a" / "explorer.html"
    given = small.sae, small.features, small.codes, small.texts, small.vectors, METRICS, small.contrast
    told = write_explorer(file, *given)
    assert told == {"n_texts": 240, "n_shown": 240, "n_vectors": 240, "bytes": len(page.encode())}
    assert file.read_text() == page
    with pytest.raises(InputError, match="cannot be written"):
        write_explorer(tmp_path, *given)


def test_beyond_the_budget_texts_are_left_out_weakest_first(small, monkeypatch):
    whole = len(small.explorer().page())
    generator = np.random.default_rng(0)
    noise = ["".join(map(chr, generator.integers(97, 123, 1500))) for _ in small.texts]
    monkeypatch.setattr(build, "LARGEST", whole + 150_000)
    monkeypatch.setattr(build, "FEWEST_VECTORS", 20)
    explorer = small.explorer(texts=noise)
    assert 20 <= explorer.told["n_shown"] < explorer.told["n_texts"] == 240
    page = explorer.page()
    assert len(page) <= build.LARGEST
    rows = np.frombuffer(inflated(parts(page)[2]["codes"]), np.uint32, explorer.told["n_shown"])
    assert {top[0] for top in small.features.table["top_rows"] if top} <= set(rows.tolist())


def test_a_corpus_without_texts_has_rows(small):
    _, _, data = parts(small.explorer(texts=None).page())
    assert json.loads(inflated(data["texts"])) == {"texts": None, "cut": {}}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"texts": ["one"]}, "1 texts and 240 rows"),
        ({"vectors": np.zeros((3, 16))}, "not of one corpus"),
        ({"sae": TopKSAE({"act_size": 16, "dict_size": 12, "top_k": 3, "sae_type": "topk", "seed": 1})}, "another SAE"),
    ],
)
def test_parts_that_do_not_fit_are_refused(small, changes, told):
    with pytest.raises(InputError, match=told):
        small.explorer(**changes)


@pytest.mark.parametrize("input_unit_norm", [False, True])
def test_scales_put_an_embedding_together(small, input_unit_norm):
    sae = TopKSAE({"act_size": 16, "dict_size": 12, "top_k": 3, "sae_type": "topk", "input_unit_norm": input_unit_norm})
    vectors = 3 * small.vectors[:50] + 1
    sae.fit_input_scaling([torch.from_numpy(vectors)])
    how = scales(sae, vectors)
    with torch.no_grad():
        decoded = sae(torch.from_numpy(vectors)).x_hat.numpy() / np.linalg.norm(vectors, axis=1, keepdims=True)
    codes = sae.transform(vectors)
    whole = how.spread[:, None] * (how.scale * (codes @ sae.W_dec.detach().numpy()) + how.base) + how.shift[:, None]
    assert how.linear
    np.testing.assert_allclose(whole, decoded, atol=1e-5)
    error = error_of(sae, codes, vectors, how, np.arange(50))
    assert 0 < error["cosine"] < 0.01 and 0 < error["share"] < 0.01


def test_columns_of_a_scorecard_and_of_features(page):
    _, _, data = parts(page)
    index = json.loads(data["index"])
    assert [card["title"] for card in index["metrics"]][:2] == ["Variance lost (FVU)", "Active latents (L0)"]
    value = index["metrics"][0]["values"][0]
    assert value == {"label": "this SAE", "text": "0.250", "bounds": "0.200 to 0.300", "own": True, "width": 25.0}
    columns = json.loads(inflated(data["features"]))
    assert {len(column) for column in columns.values()} == {12}
    assert columns["label"][3] == EVIL

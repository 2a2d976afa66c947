"""Processes that die while they encode, alone and side by side: what they leave is whole, and the next one goes on."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys

import encoding_process
import numpy as np
import pytest

from sae_kedro.activations import chunks as chunks_module
from sae_kedro.activations.shards import LOCK_FILE, survey

SEEDS = [*range(5), *(pytest.param(seed, marks=pytest.mark.fuzz) for seed in range(5, 55))]


@pytest.fixture(scope="module")
def processes():
    """Processes that are forked from one that has torch loaded, which is not this one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["encoding_process"])
        yield context


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """66 rows, of which 6 are empty: seven shards of 8 texts and one of 4."""
    file = tmp_path_factory.mktemp("corpus") / "corpus.jsonl"
    rows = ["" if number % 11 == 5 else f"text {number}" for number in range(66)]
    file.write_text("".join(json.dumps({"text": row}) + "\n" for row in rows))
    return file


@pytest.fixture(scope="module")
def texts(corpus):
    return [row["text"] for row in map(json.loads, corpus.read_text().splitlines()) if row["text"]]


@pytest.fixture
def run(processes, corpus, tmp_path):
    """Start a process that fills one and the same cache; `run.cache` is its folder."""

    def start(name="process", **how):
        process = processes.Process(
            target=encoding_process.encode, args=(run.cache, corpus, tmp_path / f"{name}.json"), kwargs=how
        )
        process.start()
        return process

    def run(**how):
        process = start(**how)
        process.join()
        return process.exitcode

    run.start, run.cache = start, tmp_path / "cache"
    run.report = lambda name="process": json.loads((tmp_path / f"{name}.json").read_text())
    return run


@pytest.fixture(scope="module")
def expected(processes, corpus, tmp_path_factory):
    """The shards that a process writes which nothing happens to, and the number of lines it executes."""
    folder = tmp_path_factory.mktemp("expected")
    process = processes.Process(
        target=encoding_process.encode, args=(folder / "cache", corpus, folder / "process.json")
    )
    process.start()
    process.join()
    return files(folder / "cache"), json.loads((folder / "process.json").read_text())["n_lines"]


def files(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.name != LOCK_FILE}


def whole_texts(folder):
    """Count the texts of all shards, each of which must be sound."""
    findings = list(survey(folder, thorough=True)) if folder.is_dir() else []
    assert [finding.problem for finding in findings if finding.problem] == []
    return sum(finding.info.n_texts for finding in findings)


def test_a_process_encodes_what_it_would_in_this_process(run, corpus, texts, expected, monkeypatch):
    monkeypatch.setattr(chunks_module, "SHARD_SIZE", 8)
    cache = encoding_process.open_cache(run.cache, corpus)
    cache.fill()
    assert [text for index in cache.iter_shards() for text in cache.texts(index)] == texts
    vectors = np.concatenate([cache.read(index).vectors for index in cache.iter_shards()])
    np.testing.assert_array_equal(vectors, encoding_process.HashModel().encode(texts))
    assert files(run.cache) == expected[0] and len(expected[0]) == 8


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_killed_at_any_line_is_continued_to_the_same_bytes(run, texts, expected, seed):
    whole, n_lines = expected
    points = np.random.default_rng(seed).integers(1, n_lines * 9 // 10, size=3).tolist()
    assert run(dies_at=points[0]) == -signal.SIGKILL
    done = whole_texts(run.cache)
    for point in points[1:]:
        assert run(dies_at=point) in (0, -signal.SIGKILL)  # less is left to do than when the points were counted
        assert whole_texts(run.cache) >= done
        done = whole_texts(run.cache)
    assert run() == 0
    assert run.report()["encoded"] == texts[done:]
    assert files(run.cache) == whole


@pytest.mark.parametrize("seed", SEEDS)
def test_of_two_that_encode_together_one_is_killed_and_the_other_ends_with_the_same_bytes(
    run, processes, expected, seed
):
    whole, n_lines = expected
    start = processes.Barrier(2)
    killed = run.start("killed", dies_at=int(np.random.default_rng(seed).integers(1, n_lines // 2)), start=start)
    survivor = run.start("survivor", start=start)
    killed.join()
    survivor.join()
    assert killed.exitcode in (0, -signal.SIGKILL)  # 0 if the other was done before
    assert survivor.exitcode == 0
    assert files(run.cache) == whole


def test_two_that_encode_together_encode_every_text_once(run, processes, texts, expected):
    start = processes.Barrier(2)
    both = [run.start(name, start=start) for name in ("one", "two")]
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0]
    assert sorted(run.report("one")["encoded"] + run.report("two")["encoded"]) == sorted(texts)
    assert files(run.cache) == expected[0]


def test_a_file_that_may_not_grow_ends_in_a_sentence_and_leaves_a_usable_cache(run, texts, expected):
    whole, _ = expected
    largest = max(len(data) for name, data in whole.items())
    assert run(largest_file=largest - 1) == 0
    said = run.report()["said"]
    assert said.startswith(f"{run.cache} cannot be written (File too large); the ") and "\n" not in said
    assert f"the {whole_texts(run.cache)} texts encoded so far are kept" in said
    assert set(files(run.cache)) < set(whole)
    assert run() == 0
    assert files(run.cache) == whole

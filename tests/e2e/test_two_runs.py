"""Two runs at once, and one after the other, in the same folder."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from conftest import ROOT
from running import run_command, run_process, run_session
from sae_kedro import load_sae

LONG = {"n_epochs": 100_000, "checkpoint_every": 5}


@pytest.fixture
def running(corpus_file, tmp_path):
    """A real process that trains for longer than any test takes, once it has begun."""
    given = {"data_root": tmp_path, "dataset_path": corpus_file} | LONG
    params = ",".join(f"{key}={value}" for key, value in given.items())
    command = [sys.executable, "-m", "kedro", "run", "--env=test", f"--params={params}"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 120
        while not list(tmp_path.glob("06_models/topk/checkpoints/step-*")):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.1)
        yield process
    finally:
        process.kill()
        process.wait()


def test_a_folder_in_use_is_refused_and_that_of_a_dead_run_is_taken_over(running, corpus_file, tmp_path):
    given = {"data_root": tmp_path, "dataset_path": corpus_file, "top_k": 4}
    refused = run_command("--env=test", "--pipelines=train", **given)
    assert refused.exit_code == 1
    assert refused.output == (
        f"Error: another run is writing to {tmp_path / '06_models' / 'topk'}; wait for it, or give this one "
        "folders of its own with name=...\n"
    )
    assert run_command("--env=test", "--pipelines=encode", **given).exit_code == 0  # what writes elsewhere goes on
    running.send_signal(signal.SIGKILL)
    running.wait()
    taken_over = run_command("--env=test", "--pipelines=train", **given)
    assert taken_over.exit_code == 0, taken_over.output
    metrics = json.loads((tmp_path / "08_reporting" / "topk" / "metrics.json").read_text())
    assert metrics["top_k"] == 4 and metrics["l0"] == 4


def test_an_sae_travels_in_memory_between_the_nodes_of_a_run(corpus_file, tmp_path):
    from kedro.framework.session import KedroSession

    params = {"data_root": str(tmp_path), "dataset_path": str(corpus_file)}
    with KedroSession.create(project_path=ROOT, env="test", runtime_params=params) as session:
        dataset = session.load_context().catalog.get("sae")
    run_session("train", data_root=tmp_path, dataset_path=corpus_file)
    trained = load_sae(tmp_path / "06_models" / "topk")
    dataset.save(trained)
    (tmp_path / "06_models" / "topk" / "cfg.json").write_text("{}")  # another run's, for instance
    assert dataset.load() is trained


def test_texts_that_are_left_out_and_a_dictionary_that_is_too_large_are_told(corpus_file, tmp_path, caplog):
    cut = f"{corpus_file} holds more than num_examples=200 texts, and the rest is left out; num_examples=null takes all"
    run_session("train", data_root=tmp_path, dataset_path=corpus_file, dict_size=1024, top_k=16, n_epochs=40)
    assert cut in caplog.text
    metrics = json.loads((tmp_path / "08_reporting" / "topk" / "metrics.json").read_text())
    n_texts = metrics["n_train_texts"]
    said = f"1,024 latents learn {n_texts} texts by heart; take more texts, or dict_size of at most {n_texts // 3}"
    assert f"FVU is {metrics['fvu']:.3f} on held-out texts and " in caplog.text and said in caplog.text
    caplog.clear()
    run_session("train", data_root=tmp_path, dataset_path=corpus_file, num_examples=None, dict_size=32)
    assert "is left out" not in caplog.text and "by heart" not in caplog.text


def test_a_run_says_where_its_report_is_and_what_it_replaces(corpus_file, tmp_path, caplog):
    given = {"data_root": tmp_path, "dataset_path": corpus_file}
    result = run_command("--env=test", "--pipelines=train", **given)
    assert result.output.splitlines()[-1] == f"report: {tmp_path / '08_reporting' / 'topk' / 'report.html'}"
    run_session("train", **given)
    assert "replaces" not in caplog.text
    run_session("train", **given, dict_size=128, seed=3)
    assert f"This run replaces {tmp_path / '06_models' / 'topk'} (dict_size=256, now 128; seed=0, now 3)" in caplog.text


def test_the_bar_ends_where_the_corpus_does(docs, tmp_path):
    corpus = tmp_path / "few.txt"
    corpus.write_text("\n".join(docs[:40]) + "\n")
    params = f"dataset_path={corpus},data_root={tmp_path / 'data'},num_examples=30000"
    done = run_process("-m", "kedro", "run", "--env=test", "--pipelines=encode", "--params", params, TQDM_DISABLE="")
    assert done.returncode == 0, done.stderr
    assert "/40 [" in done.stderr and "30000" not in done.stderr

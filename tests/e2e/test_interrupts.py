"""Real runs that get a real Ctrl-C or SIGTERM."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
from safetensors.torch import load_file

from conftest import ROOT

PARAMS = {"checkpoint_every": 20, "n_epochs": 150, "wandb_mode": "offline", "eval_fraction": 0.1}


def start(data_root, corpus_file, **params):
    given = PARAMS | {"data_root": data_root, "dataset_path": corpus_file} | params
    joined = ",".join(f"{key}={value}" for key, value in given.items())
    return subprocess.Popen(
        [sys.executable, "-m", "kedro", "run", "--env", "test", "--pipelines", "train", "--params", joined],
        cwd=ROOT,
        env=os.environ | {"HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1", "PYTHONWARNINGS": "ignore"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def weights(data_root):
    return load_file(data_root / "06_models" / "topk" / "sae_weights.safetensors")


@pytest.fixture(scope="module")
def whole(corpus_file, tmp_path_factory):
    """A run that nothing stopped."""
    folder = tmp_path_factory.mktemp("whole")
    process = start(folder, corpus_file)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return folder


@pytest.fixture(params=[signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
def interrupted(request, corpus_file, tmp_path):
    """A run that was stopped by a signal after a checkpoint, what it said, and the signal."""
    process = start(tmp_path, corpus_file)
    checkpoints = tmp_path / "06_models" / "topk" / "checkpoints"
    while not list(checkpoints.glob("step-*")):
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.02)
    os.kill(process.pid, request.param)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 128 + request.param, output
    return tmp_path, output, request.param


def test_an_interrupted_run_says_how_to_go_on_and_does(interrupted, whole, corpus_file):
    folder, output, number = interrupted
    assert f"Stopped by {number.name} after step" in output
    assert "the same command with resume=true goes on from" in output
    assert "Traceback" not in output
    assert "upload it with `wandb sync" in output
    assert not (folder / "06_models" / "topk" / "cfg.json").exists()
    if number == signal.SIGTERM:
        return  # the checkpoint is the same one

    process = start(folder, corpus_file, resume="true")
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    assert "Going on after step" in output
    expected, resumed = weights(whole), weights(folder)
    assert expected.keys() == resumed.keys()
    assert all((resumed[name] == tensor).all() or tensor.isnan().all() for name, tensor in expected.items())


def test_another_configuration_is_refused_before_anything_is_read(whole, corpus_file):
    process = start(whole, corpus_file, resume="true", lr=0.5)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 1
    assert "is of another run: lr was 0.001061 and is 0.5" in output
    assert "Traceback" not in output and "Encoding" not in output

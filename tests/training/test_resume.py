"""A run that was stopped, by whatever, ends as one that was not."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from killed_runs import register_plugin

from conftest import ROOT, TensorStore
from sae_kedro import InputError, sae_classes, train
from sae_kedro.sae.registry import BUILT_IN
from sae_kedro.training.checkpoint import Checkpoint, Checkpoints, check_resumable
from sae_kedro.training.interrupts import Interrupted, Interrupts
from sae_kedro.training.tracking import Tracker

N_STEPS = 20  # 320 rows, batches of 32, two epochs


def run(cfg, data, folder=None, data_key="a tensor", **kwargs):
    tracker = Tracker(cfg)
    sae = train(sae_classes[cfg["sae_type"]](cfg), TensorStore(data, cfg, 0, data_key), cfg, folder, tracker, **kwargs)
    history = [{key: row[key] for key in row if key != "samples_per_second"} for row in tracker.history]
    return sae, history


def stopped(cfg, data, folder, step, number=signal.SIGTERM):
    """Train until a signal comes right after a step."""

    class Signals(TensorStore):
        def epoch(self, epoch):
            for index, batch in enumerate(super().epoch(epoch)):
                if 10 * epoch + index == step - 1:
                    os.kill(os.getpid(), number)
                yield batch

    with pytest.raises(Interrupted) as caught:
        train(sae_classes[cfg["sae_type"]](cfg), Signals(data, cfg), cfg, folder)
    return caught.value


def files(folder):
    return sorted(path.name[:12] for path in (folder / "checkpoints").iterdir())


@pytest.mark.parametrize("sae_type", [*BUILT_IN, "gated", "matryoshka"])
@pytest.mark.parametrize("step", [1, 10, 13, N_STEPS])
def test_an_interrupted_run_ends_bit_for_bit_like_a_whole_one(
    sae_type, step, make_cfg, sparse_data, tmp_path, monkeypatch
):
    if sae_type not in BUILT_IN:
        monkeypatch.setattr(sae_classes, "_registered", {})
        register_plugin(sae_type)
    data = sparse_data(320)
    cfg = make_cfg(sae_type=sae_type, log_every=4, dead_after=0.3)
    expected, history = run(cfg, data)
    stopped(cfg, data, tmp_path, step)
    torch.manual_seed(12345)  # what another process would start with
    sae, resumed = run(cfg | {"resume": True}, data, tmp_path)
    assert resumed == history and len(history) == 5
    for name, tensor in expected.state_dict().items():
        assert torch.equal(
            sae.state_dict()[name],
            tensor,
        ), name
    assert sae.cfg["training"]["n_steps"] == N_STEPS


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_leaves_a_checkpoint_and_says_how_to_go_on(number, code, make_cfg, sparse_data, tmp_path):
    before = signal.getsignal(number)
    error = stopped(make_cfg(), sparse_data(320), tmp_path, 7, number)
    assert error.exit_code == code
    assert f"Stopped by {signal.Signals(number).name} after step 7 of 20" in str(error)
    assert "resume=true goes on from" in str(error) and str(tmp_path / "checkpoints" / "step-0000007-") in str(error)
    assert files(tmp_path) == ["step-0000007"]
    assert signal.getsignal(number) is before


@pytest.fixture
def ctrl_c_raises():
    """What Python does with Ctrl-C, but for a background job, whose shell lets it be ignored."""
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, former)


@pytest.mark.usefixtures("ctrl_c_raises")
def test_a_second_ctrl_c_acts_as_it_always_does():
    with Interrupts() as interrupts:
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupts.received is signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_outside_the_main_thread_training_goes_on_without_signals(make_cfg, sparse_data, tmp_path):
    done = []
    thread = threading.Thread(target=lambda: done.append(run(make_cfg(), sparse_data(64), tmp_path)))
    thread.start()
    thread.join()
    assert len(done) == 1


def test_without_a_checkpoint_resume_starts_and_says_so(make_cfg, sparse_data, tmp_path, caplog):
    data = sparse_data(320)
    with caplog.at_level(logging.INFO):
        sae, _ = run(make_cfg(resume=True), data, tmp_path)
    assert "There is no checkpoint in" in caplog.text
    assert torch.equal(sae.W_enc, run(make_cfg(), data)[0].W_enc)


def test_two_checkpoints_stay_and_those_of_an_earlier_run_until_the_first(make_cfg, sparse_data, tmp_path):
    data = sparse_data(320)
    run(make_cfg(checkpoint_every=6), data, tmp_path)
    assert files(tmp_path) == ["step-0000012", "step-0000018"]
    (tmp_path / "checkpoints" / "unfinished.tmp").write_text("of a killed run")
    stopped(make_cfg(seed=1), data, tmp_path, 3)
    assert files(tmp_path) == ["step-0000003"]


@pytest.mark.parametrize("damage", ["torn", "flipped", "empty"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(damage, make_cfg, sparse_data, tmp_path, caplog):
    data, cfg = sparse_data(320), make_cfg(checkpoint_every=6)
    expected, _ = run(cfg, data, tmp_path)
    last = max((tmp_path / "checkpoints").iterdir())
    content = bytearray(last.read_bytes())
    content[len(content) // 2] ^= 16
    last.write_bytes({"torn": content[:-100], "flipped": content, "empty": b""}[damage])
    with caplog.at_level(logging.INFO):
        sae, _ = run(cfg | {"resume": True}, data, tmp_path)
    assert f"The checkpoint {last} is damaged; the one before it is used" in caplog.text
    assert "Going on after step 12 of 20" in caplog.text
    assert torch.equal(sae.W_dec, expected.W_dec)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"top_k": 5}, "top_k was 4 and is 5"),
        ({"lr": 0.5, "seed": 3}, r"lr was 0.00075 and is 0.5, seed was 0 and is 3"),
        ({"model_name": "another"}, "model_name was 'sentence-transformers/all-MiniLM-L6-v2' and is 'another'"),
        ({"n_epochs": 3}, "n_epochs was 2 and is 3"),
    ],
)
def test_a_checkpoint_of_another_configuration_is_refused(change, told, make_cfg, sparse_data, tmp_path):
    data = sparse_data(320)
    stopped(make_cfg(), data, tmp_path, 5)
    cfg = make_cfg(**change, resume=True)
    for refused in (lambda: run(cfg, data, tmp_path), lambda: check_resumable(tmp_path / "checkpoints", cfg)):
        with pytest.raises(
            InputError, match=rf"step-0000005-\w+.safetensors is of another run: {told}; go back .* anew"
        ):
            refused()
    assert files(tmp_path) == ["step-0000005"]


@pytest.mark.parametrize(("rows", "data_key"), [(320, "another tensor"), (319, "a tensor")])
def test_a_checkpoint_of_other_data_is_refused(rows, data_key, make_cfg, sparse_data, tmp_path):
    data = sparse_data(320)
    stopped(make_cfg(), data, tmp_path, 5)
    with pytest.raises(InputError, match="the corpus, the model or the texts held out have changed"):
        run(make_cfg(resume=True), data[:rows], tmp_path, data_key)


def test_keys_without_influence_may_differ(make_cfg, sparse_data, tmp_path):
    data = sparse_data(320)
    stopped(make_cfg(), data, tmp_path, 5)
    sae, _ = run(make_cfg(resume=True, log_every=3, checkpoint_every=4, name="other"), data, tmp_path)
    assert torch.equal(sae.W_enc, run(make_cfg(), data)[0].W_enc)


def test_a_disk_that_cannot_take_a_checkpoint_does_not_stop_the_run(make_cfg, sparse_data, tmp_path, caplog):
    (tmp_path / "checkpoints").write_text("a file where the folder should be")
    sae, _ = run(make_cfg(checkpoint_every=8), sparse_data(320), tmp_path)
    assert sae.cfg["training"]["n_steps"] == N_STEPS
    assert caplog.text.count("cannot be written (File exists); training goes on") == 2


def test_a_checkpoint_gives_back_what_it_was_given(tmp_path):
    checkpoints = Checkpoints(tmp_path, {"cfg": {"lr": 0.1}, "data": "x"})
    tensors = {"a": torch.randn(3, 2).t(), "b": torch.tensor(7), "c": torch.arange(3, dtype=torch.uint8)}
    path = checkpoints.save(4, Checkpoint(tensors, {"seconds": 1.5}))
    assert checkpoints.last == path and path.read_bytes()
    read = Checkpoints(tmp_path, {"cfg": {"lr": 0.1}, "data": "x"}).latest()
    assert read.notes == {"seconds": 1.5}
    assert all(torch.equal(read.tensors[name], tensor) for name, tensor in tensors.items())
    assert list(read.tensors["a"].shape) == [2, 3]


@pytest.mark.parametrize("lr", [0.0005, 10.0])
def test_a_loss_that_is_not_finite_stops_the_run_at_its_step(lr, make_cfg, sparse_data, tmp_path):
    class Broken(TensorStore):
        def epoch(self, number):
            for index, batch in enumerate(super().epoch(number)):
                yield batch * torch.nan if (number, index) == (1, 2) else batch

    cfg = make_cfg(checkpoint_every=6, log_every=50, lr=lr)
    cause = {
        0.0005: "lr=0.0005 is not high, so look at aux_penalty",
        10.0: r"lr=10 is probably too high \(the default is",
    }
    with pytest.raises(InputError, match=rf"the loss is nan at step 13 of 20; {cause[lr]}.*step-0000012-") as caught:
        train(sae_classes["topk"](cfg), Broken(sparse_data(320), cfg), cfg, tmp_path)
    assert "the last good checkpoint is" in str(caught.value)
    assert files(tmp_path) == ["step-0000006", "step-0000012"]
    with pytest.raises(InputError, match="there is no checkpoint of this run"):
        train(sae_classes["topk"](cfg), Broken(sparse_data(320), cfg), cfg)


def test_a_weight_that_is_not_finite_stops_the_run_before_it_is_kept(make_cfg, sparse_data, tmp_path):
    class Breaks(sae_classes["topk"]):
        def after_step(self, progress):
            if progress.step == 8:
                with torch.no_grad():
                    self.W_dec[3, 3] = torch.inf
                    self.b_enc[3] = -torch.inf

    cfg = make_cfg(checkpoint_every=3, log_every=50)
    with pytest.raises(InputError, match=r"a weight is not finite at step 9 of 20; .*step-0000006-"):
        train(Breaks(cfg), TensorStore(sparse_data(320), cfg), cfg, tmp_path)
    assert files(tmp_path) == ["step-0000003", "step-0000006"]


def killed(folder, sae_type, n_kills, seed=0):
    script = Path(__file__).with_name("killed_runs.py")
    plugins = [str(path) for path in ROOT.glob("plugins/*/src")]
    paths = os.pathsep.join([str(ROOT / "tests"), str(ROOT / "src"), *plugins])
    arguments = [sys.executable, script, folder, sae_type, n_kills, seed]
    done = subprocess.run(
        list(map(str, arguments)), env=os.environ | {"PYTHONPATH": paths}, capture_output=True, text=True, check=True
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_killed_run_ends_bit_for_bit_like_a_whole_one(tmp_path):
    kills = killed(tmp_path, "batchtopk", 6)
    assert len(kills) == 6 and all(kill["same"] for kill in kills), kills
    assert any(kill["left"] and not kill["finished"] for kill in kills), kills


@pytest.mark.fuzz
@pytest.mark.parametrize("sae_type", [*BUILT_IN, "matryoshka"])
def test_twenty_kills_at_random_moments(sae_type, tmp_path):
    kills = killed(tmp_path, sae_type, 20, seed=1)
    assert len(kills) == 20 and all(kill["same"] for kill in kills), kills

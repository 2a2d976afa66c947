from __future__ import annotations

import json
import logging
import os
import signal
import struct
from pathlib import Path

import pytest
import torch
import wandb
from wandb_server import WandbServer

from conftest import TensorStore
from sae_kedro import get_experiment_cfg, sae_classes, train
from sae_kedro.training.step_log import StepLog, StepMetrics
from sae_kedro.training.tracking import Tracker, wandb_mode


def records_of(folder, prefix="offline-run-"):
    """Read a W&B run back from its own file: a LevelDB log of protocol buffers behind a 7-byte header."""
    from wandb.proto import wandb_internal_pb2

    wandb.teardown()  # so that all is on the disk
    (file,) = folder.glob(f"wandb/{prefix}*/run-*.wandb")
    data, position, part, records = file.read_bytes(), 7, b"", []
    assert data[:4] == b":W&B"
    while position + 7 <= len(data):
        left = 32768 - position % 32768
        length, kind = struct.unpack("<HB", data[position + 4 : position + 7])
        if left < 7 or kind == 0:
            position += left
            continue
        part += data[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # a whole record, or the last part of one
            records.append(wandb_internal_pb2.Record.FromString(part))
            part = b""
    return records


def named(items):
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}


def test_an_offline_wandb_run_holds_config_history_and_summary(make_cfg, sparse_data, tmp_path):
    cfg = make_cfg(wandb_mode="offline", wandb_project="my-project", log_every=5)
    with Tracker(cfg, tmp_path) as tracker:
        train(sae_classes["topk"](cfg), TensorStore(sparse_data(320), cfg), cfg, tracker=tracker)
        tracker.summarise({"final_fvu": 0.25, "not_a_number": [1]})
    records = records_of(tmp_path)
    run = next(record.run for record in records if record.HasField("run"))
    assert run.project == "my-project" and run.display_name == cfg["name"]
    config = named(run.config.update)
    assert {key: config[key] for key in cfg} == cfg
    history = [named(record.history.item) for record in records if record.HasField("history")]
    assert [row["_step"] for row in history] == [5, 10, 15, 20]
    assert [row["fvu"] for row in history] == [row["fvu"] for row in tracker.history]
    assert {"loss", "l0", "dead", "lr", "samples_per_second"} <= set(history[0])
    summary = [named(record.summary.update) for record in records if record.HasField("summary")]
    assert any(row.get("final_fvu") == 0.25 for row in summary)


def test_history_jsonl_is_written_row_by_row(make_cfg, tmp_path):
    tracker = Tracker(make_cfg(), tmp_path)
    tracker.log({"step": 1, "loss": 0.5})
    tracker.log({"step": 2, "loss": 0.25})
    lines = (tmp_path / "history.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == tracker.history
    tracker.close()
    assert not (tmp_path / "wandb").exists()


def test_a_run_that_is_refused_before_its_first_row_leaves_the_last_history_alone(make_cfg, tmp_path):
    (tmp_path / "history.jsonl").write_text("the last run's")
    Tracker(make_cfg(), tmp_path).close()
    assert (tmp_path / "history.jsonl").read_text() == "the last run's"


def test_samples_per_second_are_those_that_were_seen(make_cfg, monkeypatch):
    clock = iter([10.0, 12.0, 12.0])
    monkeypatch.setattr("sae_kedro.training.step_log.time.perf_counter", lambda: next(clock))
    log = StepLog(Tracker(make_cfg()))
    scalar = torch.tensor(1.0)
    for n_texts in (5, 3):
        log.add(StepMetrics({"loss": scalar}, scalar, scalar, 0), n_texts)
    log.write(step=2, epoch=0, lr=0.1)
    assert log.tracker.history[0]["samples_per_second"] == 4


def test_names_do_not_lead_out_of_the_folder(make_cfg, tmp_path):
    cfg = make_cfg(wandb_mode="offline", wandb_project="..") | {"name": "../../../outside\x1b[2J"}
    with Tracker(cfg, tmp_path / "a" / "b" / "c") as tracker:
        tracker.log({"step": 1, "loss": 2.0})
    assert records_of(tmp_path / "a" / "b" / "c")
    written = [path for path in tmp_path.rglob("*") if not path.is_dir()]
    assert all((tmp_path / "a" / "b" / "c") in path.parents for path in written)


@pytest.mark.parametrize("mode", ["online", "offline", "disabled"])
def test_a_mode_that_is_given_is_used(mode):
    assert wandb_mode(mode, None) == mode


def test_being_logged_in_is_no_consent(monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    assert wandb_mode("auto", None) == "disabled"
    assert get_experiment_cfg()["wandb_project"] is None


def test_auto_is_online_only_with_credentials(monkeypatch, tmp_path):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert wandb_mode("auto", "mine") == "offline"
    (tmp_path / "netrc").write_text("machine api.wandb.ai login user password secret\n")
    assert wandb_mode("auto", "mine") == "online"
    (tmp_path / "netrc").write_text("machine example.org login user password secret\n")
    assert wandb_mode("auto", "mine") == "offline"
    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    assert wandb_mode("auto", "mine") == "online"


@pytest.fixture
def server(monkeypatch):
    """A W&B server of this test's own, which may misbehave; nothing goes anywhere else."""
    server = WandbServer()
    monkeypatch.setenv("WANDB_API_KEY", "0123456789" * 4)
    monkeypatch.setenv("WANDB_BASE_URL", server.url)
    monkeypatch.setattr("sae_kedro.training.tracking.CONNECT_SECONDS", 2)
    monkeypatch.setattr("sae_kedro.training.tracking.FINISH_SECONDS", 2)
    wandb.teardown()  # so that the environment is read again
    yield server
    server.die()
    wandb.teardown()


ROWS = [{"step": step, "loss": 1 / step} for step in range(1, 7)]


def track(make_cfg, folder, between=lambda: None, **overrides):
    with Tracker(make_cfg(**({"wandb_mode": "online"} | overrides)), folder) as tracker:
        for row in ROWS[:3]:
            tracker.log(row)
        between()
        for row in ROWS[3:]:
            tracker.log(row)
        tracker.summarise({"final": 0.5})
    assert [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()] == ROWS


def said(caplog):
    """What this project logs; W&B's own log goes to a file, pytest or not."""
    return [
        record for record in caplog.records if record.name.startswith("sae_kedro") and record.levelno > logging.INFO
    ]


def check_warned_once(caplog, capfd, folder, prefix):
    """One warning, and nothing of W&B's own, names the folder that `wandb sync` uploads."""
    (record,) = said(caplog)
    assert "the history is kept offline, upload it later with `wandb sync " in record.getMessage()
    (place,) = folder.glob(f"wandb/{prefix}*")
    assert f"`wandb sync {place}`" in record.getMessage()
    assert "wandb" not in capfd.readouterr().err.replace(record.getMessage(), "")


def check_history(folder, prefix):
    records = records_of(folder, prefix)
    history = [named(record.history.item) for record in records if record.HasField("history")]
    assert [(row["_step"], row["loss"]) for row in history] == [(row["step"], row["loss"]) for row in ROWS]


def test_a_server_that_is_well_gets_everything_and_nobody_is_warned(server, make_cfg, tmp_path, caplog, capfd):
    track(make_cfg, tmp_path)
    assert [(row["_step"], row["loss"]) for row in server.rows] == [(row["step"], row["loss"]) for row in ROWS]
    assert not said(caplog) and not capfd.readouterr().err


@pytest.mark.parametrize("mood", ["gone", "hanging", "breaking off", 401, 403, 500])
def test_a_server_that_fails_at_the_start(mood, server, make_cfg, tmp_path, caplog, capfd):
    if mood == "gone":
        server.die()
    server.mood = mood
    track(make_cfg, tmp_path)
    check_warned_once(caplog, capfd, tmp_path, "offline-run-")
    check_history(tmp_path, "offline-run-")


@pytest.mark.parametrize("mood", ["gone", "hanging", "breaking off", 401, 500])
def test_a_server_that_fails_on_the_way(mood, server, make_cfg, tmp_path, caplog, capfd):
    def fail():
        if mood == "gone":
            server.die()
        server.mood = mood

    track(make_cfg, tmp_path, fail)
    check_warned_once(caplog, capfd, tmp_path, "run-")
    check_history(tmp_path, "run-")


@pytest.mark.parametrize("key", ["short", "no-such-key-" + "x" * 40, "%" * 40])
def test_credentials_that_cannot_be(key, server, make_cfg, tmp_path, caplog, capfd, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", key)
    server.mood = 401
    track(make_cfg, tmp_path)
    check_warned_once(caplog, capfd, tmp_path, "offline-run-")
    check_history(tmp_path, "offline-run-")


def parent_of(task):
    try:
        return int((task / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:  # it has ended meanwhile
        return None


@pytest.mark.skipif(not Path("/proc").exists(), reason="no /proc")
def test_a_process_of_wandb_that_dies_on_the_way(server, make_cfg, tmp_path, caplog):
    def kill():
        for task in Path("/proc").glob("[0-9]*"):
            if parent_of(task) == os.getpid() and b"wandb-core" in (task / "cmdline").read_bytes():
                os.kill(int(task.name), signal.SIGKILL)
                os.waitid(os.P_PID, int(task.name), os.WEXITED | os.WNOWAIT)

    track(make_cfg, tmp_path / "one", kill)
    (record,) = said(caplog)
    assert "`wandb sync " in record.getMessage()
    caplog.clear()
    track(make_cfg, tmp_path / "two")  # the next run is none the worse
    assert not said(caplog) and len(server.rows) >= 6

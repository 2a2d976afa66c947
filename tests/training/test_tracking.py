from __future__ import annotations

import json
import struct

import pytest
import wandb

from conftest import TensorStore
from sae_kedro import sae_classes, train
from sae_kedro.training.tracking import Tracker, wandb_mode


def offline_records(folder):
    """Read an offline W&B run back from its own file: a LevelDB log of protocol buffers behind a 7-byte header."""
    from wandb.proto import wandb_internal_pb2

    (file,) = folder.glob("wandb/offline-run-*/run-*.wandb")
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
    records = offline_records(tmp_path)
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


def test_names_do_not_lead_out_of_the_folder(make_cfg, tmp_path):
    cfg = make_cfg(wandb_mode="offline", name="../../../outside\x1b[2J", wandb_project="..")
    with Tracker(cfg, tmp_path / "a" / "b" / "c") as tracker:
        tracker.log({"step": 1, "loss": 2.0})
    assert offline_records(tmp_path / "a" / "b" / "c")
    written = [path for path in tmp_path.rglob("*") if not path.is_dir()]
    assert all((tmp_path / "a" / "b" / "c") in path.parents for path in written)


@pytest.mark.parametrize("mode", ["online", "offline", "disabled"])
def test_a_mode_that_is_given_is_used(mode):
    assert wandb_mode(mode) == mode


def test_auto_is_online_only_with_credentials(monkeypatch, tmp_path):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert wandb_mode("auto") == "offline"
    (tmp_path / "netrc").write_text("machine api.wandb.ai login user password secret\n")
    assert wandb_mode("auto") == "online"
    (tmp_path / "netrc").write_text("machine example.org login user password secret\n")
    assert wandb_mode("auto") == "offline"
    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    assert wandb_mode("auto") == "online"


def test_a_server_that_cannot_be_reached_leaves_the_run_offline_and_whole(make_cfg, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("WANDB_API_KEY", "0123456789" * 4)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    wandb.teardown()  # so that the environment is read again
    monkeypatch.setattr("sae_kedro.training.tracking.CONNECT_SECONDS", 3)
    with Tracker(make_cfg(wandb_mode="online"), tmp_path) as tracker:
        tracker.log({"step": 1, "loss": 0.5})
    assert "kept offline" in caplog.text
    (row,) = [named(record.history.item) for record in offline_records(tmp_path) if record.HasField("history")]
    assert row["loss"] == 0.5
    wandb.teardown()

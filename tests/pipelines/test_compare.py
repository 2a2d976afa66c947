"""Real runs of the comparison: what they write, and that a killed one goes on where it stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import plotly.io
import pytest

from conftest import ROOT
from running import files_in, run_command, run_session
from sae_kedro import load_sae

VARIANTS = ["vanilla", "topk", "batchtopk", "jumprelu"]


def table_of(root: Path) -> bytes:
    return (root / "08_reporting" / "compare" / "comparison.csv").read_bytes()


def finished(root: Path) -> dict[str, int]:
    """List the metrics of finished models with the time at which each was written."""
    files = files_in(root / "06_models" / "compare") if (root / "06_models" / "compare").is_dir() else {}
    return {name: written for name, written in files.items() if name.endswith("metrics.json")}


@pytest.fixture(scope="module")
def root(corpus_file, tmp_path_factory) -> Path:
    """The data_root of one uninterrupted comparison; long enough epochs that one model takes a moment."""
    root = tmp_path_factory.mktemp("compare") / "data"
    run_session("compare", data_root=root, dataset_path=corpus_file, n_epochs=60)
    return root


def test_one_table_and_one_figure_for_all(root):
    reports = root / "08_reporting" / "compare"
    table = pd.read_csv(reports / "comparison.csv")
    assert list(table["sae_type"]) == [name for name in VARIANTS for _ in range(2)]
    assert list(table["top_k"]) == [4, 8] * 4
    assert table["fvu"].between(0, 1).all() and table["l0"].between(1, 64).all()
    assert not table.isna().any().any()
    lines = (reports / "comparison.md").read_text().splitlines()
    assert len(lines) == 10 and lines[2].startswith(f"| vanilla   | 4     | {table['l0'][0]:.4f}")
    figure = plotly.io.from_json((reports / "pareto.json").read_text())
    assert [line.name for line in figure.data] == VARIANTS
    assert sorted(y for line in figure.data for y in line.y) == sorted(table["fvu"])
    assert all(len(line.marker.size) == 2 for line in figure.data)


def test_every_model_is_saved_with_its_metrics_and_history(root):
    table = pd.read_csv(root / "08_reporting" / "compare" / "comparison.csv")
    for row in table.itertuples():
        files = set(files_in(root / "06_models" / "compare" / row.folder))
        assert files == {"cfg.json", "sae_weights.safetensors", "metrics.json"}
        sae = load_sae(root / "06_models" / "compare" / row.folder)
        assert (sae.cfg["sae_type"], sae.top_k, sae.act_size) == (row.sae_type, row.top_k, 384)
        assert set(files_in(root / "08_reporting" / "compare" / row.folder)) == {"history.jsonl"}


def test_texts_are_encoded_once(root):
    assert len(files_in(root / "04_feature")) == 1


def test_a_comparison_gives_what_single_runs_give(root, corpus_file):
    run_session("train", data_root=root, dataset_path=corpus_file, n_epochs=60, sae_type="jumprelu")
    table = pd.read_csv(root / "08_reporting" / "compare" / "comparison.csv")
    (folder,) = table[(table["sae_type"] == "jumprelu") & (table["top_k"] == 8)]["folder"]
    weights = "sae_weights.safetensors"
    single = (root / "06_models" / "jumprelu" / weights).read_bytes()
    assert (root / "06_models" / "compare" / folder / weights).read_bytes() == single


@pytest.mark.parametrize("option", ["--pipelines", "--pipeline"])
def test_a_second_run_trains_nothing_and_prints_the_table(root, corpus_file, option, caplog):
    before, table = finished(root), table_of(root)
    result = run_command("--env=test", option, "compare", data_root=root, dataset_path=corpus_file, n_epochs=60)
    assert result.exit_code == 0
    assert (root / "08_reporting" / "compare" / "comparison.md").read_text() in result.output
    assert sum("reused" in line for line in caplog.messages) == 8
    assert finished(root) == before and table_of(root) == table


def test_variants_and_ks_from_the_command_line(root, corpus_file, tmp_path):
    given = {"sae_types": "jumprelu+topk", "top_ks": "2+3", "bandwidth": 0.1, "n_epochs": 2}
    result = run_command("--env=test", "--pipelines=compare", data_root=tmp_path, dataset_path=corpus_file, **given)
    assert result.exit_code == 0
    table = pd.read_csv(tmp_path / "08_reporting" / "compare" / "comparison.csv")
    rows = list(zip(table["sae_type"], table["top_k"], strict=True))
    assert rows == [("jumprelu", 2), ("jumprelu", 3), ("topk", 2), ("topk", 3)]


def test_a_sweep_from_the_command_line_is_in_the_table_and_the_figure(corpus_file, tmp_path):
    given = {"data_root": tmp_path, "dataset_path": corpus_file, "top_ks": 2, "n_epochs": 1}
    sweep = run_command(
        "--env=test", "--pipelines=compare", **given, sae_types="topk", sweep="dict_size:32+64;seed=0+1"
    )
    assert sweep.exit_code == 0, sweep.output
    later = {"sweep.bandwidth": "0.1+0.2", "sweep.dict_size": 32}
    assert run_command("--env=test", "--pipelines=compare", **given, sae_types="jumprelu", **later).exit_code == 0
    reports = tmp_path / "08_reporting" / "compare"
    table = pd.read_csv(reports / "comparison.csv")
    assert list(table.columns[:5]) == ["sae_type", "top_k", "bandwidth", "dict_size", "seed"]
    assert [tuple(row) for row in table.iloc[:, 2:5].fillna(0).itertuples(index=False)] == [
        *((0.1, 32, 0), (0.2, 32, 0)),
        *((0, 32, 0), (0, 32, 1), (0, 64, 0), (0, 64, 1)),
    ]
    assert "| topk     | 2     | –         | 32        | 0    |" in (reports / "comparison.md").read_text()
    lines = plotly.io.from_json((reports / "pareto.json").read_text()).data
    assert [line.name for line in lines[1:3]] == [
        "jumprelu, bandwidth 0.2, dict_size 32, seed 0",
        "topk, dict_size 32, seed 0",
    ]
    assert len(lines) == 6 and len({line.line.color for line in lines}) == 2
    assert len({(line.line.color, line.line.dash) for line in lines}) == 6
    assert (reports / "run.log").read_text().count("[1/8] plan_comparison") == 2


def test_a_key_that_is_swept_and_given_is_refused(corpus_file, tmp_path):
    given = {"data_root": tmp_path, "dataset_path": corpus_file, "sweep": "dict_size:32+64", "dict_size": 64}
    result = run_command("--env=test", "--pipelines=compare", **given)
    assert result.exit_code == 1
    assert "sweep holds dict_size, and dict_size=64 is given, too; leave one of them out" in result.output


def test_a_killed_comparison_goes_on_where_it_stopped(root, corpus_file, tmp_path, caplog):
    data_root = tmp_path / "killed"
    params = f"--params=data_root={data_root},dataset_path={corpus_file},n_epochs=60"
    command = [sys.executable, "-m", "kedro", "run", "--env=test", "--pipelines=compare", params]
    with (tmp_path / "log").open("w") as log, subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log) as process:
        until = time.monotonic() + 120
        while not finished(data_root) and process.poll() is None and time.monotonic() < until:
            time.sleep(0.002)
        os.kill(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL, (tmp_path / "log").read_text()
    before = finished(data_root)
    assert 1 <= len(before) < 8
    assert not (data_root / "08_reporting" / "compare" / "comparison.csv").exists()
    run_session("compare", data_root=data_root, dataset_path=corpus_file, n_epochs=60)
    assert sum("reused" in line for line in caplog.messages) == len(before)
    now = finished(data_root)
    assert len(now) == 8 and before.items() <= now.items()
    assert table_of(data_root) == table_of(root)

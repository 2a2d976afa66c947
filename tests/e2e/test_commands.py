"""The commands of the README in a fresh copy of the project, as processes of their own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from running import copy_project, files_in, run_process


@pytest.fixture(scope="module")
def project(corpus_file, tmp_path_factory) -> Path:
    """A project in which `python -m sae_kedro --pipelines encode` has run."""
    folder = copy_project(tmp_path_factory.mktemp("project"))
    given = f"--params=data_root=data,dataset_path={corpus_file}"
    result = run_process("-m", "sae_kedro", "--pipelines", "encode", "--env=test", given, folder=folder)
    assert result.returncode == 0, result.stderr
    assert {file.split("/")[0] for file in files_in(folder / "data")} == {"04_feature"}
    return folder


def test_kedro_run_trains_without_encoding_again(project, corpus_file):
    encoded = files_in(project / "data" / "04_feature")
    given = f"--params=data_root=data,dataset_path={corpus_file},sae_type=jumprelu"
    result = run_process("-m", "kedro", "run", "--env=test", "--pipeline", "train", given, folder=project)
    assert result.returncode == 0, result.stderr
    reporting = project / "data" / "08_reporting" / "jumprelu"
    metrics = json.loads((reporting / "metrics.json").read_text())
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in result.stdout.splitlines()]
    assert ["fvu", f"{metrics['fvu']:.4f}"] in rows  # the table at the end of a run
    assert "[13/13] write_report" in result.stderr
    assert files_in(project / "data" / "04_feature") == encoded

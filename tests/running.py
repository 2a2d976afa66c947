"""Ways to run the project in tests: in this process as a session or a command line, or as a process of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result
from kedro.framework.cli.utils import find_run_command
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project

from conftest import ROOT
from sae_kedro.activations.shards import LOCK_FILE

bootstrap_project(ROOT)


def copy_project(folder: Path) -> Path:
    """Copy what a run needs into a folder of its own, so that whatever it writes there can be seen."""
    for part in ("conf", "src"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    shutil.rmtree(folder / "conf" / "local", ignore_errors=True)
    (folder / "conf" / "local").mkdir()
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def run_session(pipeline: str | None = None, project: Path = ROOT, **params: Any) -> dict[str, Any]:
    """Run a pipeline in the test environment; without a name, the default one."""
    params = {key: str(value) if isinstance(value, Path) else value for key, value in params.items()}
    with KedroSession.create(project_path=project, env="test", runtime_params=params) as session:
        return session.run(pipeline_names=[pipeline] if pipeline else None)


def run_command(*options: object, **params: Any) -> Result:
    """Call `kedro run` in this process, from the project's folder."""
    given = ",".join(f"{key}={value}" for key, value in params.items())
    before = Path.cwd()
    os.chdir(ROOT)
    try:
        command = find_run_command("sae_kedro")
        return CliRunner().invoke(command, [*map(str, options), *(["--params", given] if given else [])])
    finally:
        os.chdir(before)


def run_process(*arguments: object, folder: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `python ...` offline in a project folder and return its exit code and output."""
    offline = {"HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1", "PYTHONWARNINGS": "ignore"}
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=folder,
        env=os.environ | offline | environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def files_in(folder: Path) -> dict[str, int]:
    """List all files below a folder, but the locks of caches, with the time of their last change."""
    files = (file for file in folder.rglob("*") if file.is_file() and file.name != LOCK_FILE)
    return {str(file.relative_to(folder)): file.stat().st_mtime_ns for file in files}

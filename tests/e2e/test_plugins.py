"""Plugins as users meet them: real wheels, installed beside a project that holds configuration alone."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from conftest import ROOT
from running import run_process

PIP = ("-m", "pip", "--quiet", "--disable-pip-version-check")


def install(source: Path, site: Path, wheels: Path) -> None:
    """Build a wheel from a copy of a distribution's folder and install it, and nothing else, into `site`."""
    copy = wheels / f"copy-of-{source.name}"
    shutil.copytree(source / "src", copy / "src", ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"))
    for file in ("pyproject.toml", "README.md"):
        shutil.copy(source / file, copy)
    result = run_process(*PIP, "wheel", "--no-deps", "--no-build-isolation", "-w", wheels / source.name, copy)
    assert result.returncode == 0, result.stderr
    (wheel,) = (wheels / source.name).glob("*.whl")
    result = run_process(*PIP, "install", "--no-deps", "--no-index", "--target", site, wheel)
    assert result.returncode == 0, result.stderr


@pytest.fixture(scope="module")
def wheels(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("wheels")


@pytest.fixture(scope="module")
def site(wheels, tmp_path_factory) -> Path:
    """A folder of installed packages: the core, one plugin of ours, and one that `kedro sae new` created."""
    site = tmp_path_factory.mktemp("site")
    install(ROOT, site, wheels)
    install(ROOT / "plugins" / "sae-kedro-matryoshka", site, wheels)
    return site


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A project folder without the core's source, so that the installed wheel is what runs."""
    project = tmp_path_factory.mktemp("project")
    shutil.copytree(ROOT / "conf", project / "conf")
    shutil.copy(ROOT / "pyproject.toml", project)
    (project / "src").mkdir()
    return project


def kedro(project: Path, site: Path, *arguments: object):
    return run_process("-m", "kedro", *arguments, folder=project, PYTHONPATH=str(site))


def train(project, site, corpus_file, data_root, sae_type):
    params = f"--params=sae_type={sae_type},data_root={data_root},dataset_path={corpus_file}"
    result = kedro(project, site, "run", "--env=test", "--pipelines", "train", params)
    assert result.returncode == 0, result.stderr
    metrics = json.loads((data_root / "08_reporting" / sae_type / "metrics.json").read_text())
    assert metrics["sae_type"] == sae_type and 0 < metrics["fvu"] < 1
    return metrics


def test_an_installed_wheel_is_listed_described_and_trained_with_no_file_of_the_core_touched(
    project, site, corpus_file, tmp_path
):
    where = run_process("-c", "import sae_kedro; print(sae_kedro.__file__)", folder=project, PYTHONPATH=str(site))
    assert where.stdout.startswith(str(site))
    listed = kedro(project, site, "sae", "list", "--json")
    row = next(row for row in json.loads(listed.stdout) if row["name"] == "matryoshka")
    assert (row["provider"], row["version"], row["status"]) == ("sae-kedro-matryoshka", "0.1.0", "ok")
    assert "matryoshka" in kedro(project, site, "sae", "list").stdout
    described = kedro(project, site, "sae", "describe", "matryoshka").stdout
    assert "arxiv.org/abs/2503.17547" in described and "prefixes: a list" in described
    train(project, site, corpus_file, tmp_path, "matryoshka")


def test_a_new_variant_installs_passes_its_own_tests_and_trains_at_once(project, site, wheels, corpus_file, tmp_path):
    created = kedro(project, site, "sae", "new", "my-variant", "--output", tmp_path)
    assert created.returncode == 0, created.stderr
    plugin = tmp_path / "sae-kedro-my-variant"
    files = [file for file in plugin.rglob("*") if file.is_file()]
    assert sum(len(file.read_text().splitlines()) for file in files) < 60
    install(plugin, site, wheels)
    environment = {"PYTHONPATH": f"{site}{os.pathsep}{plugin / 'src'}"}
    own_tests = run_process("-m", "pytest", "-q", "tests", folder=plugin, **environment)
    assert own_tests.returncode == 0 and "1 passed" in own_tests.stdout
    train(project, site, corpus_file, tmp_path / "data", "my-variant")
    option = kedro(project, site, "run", "--env=test", "--params=sae_type=my-variant,sharpness=0")
    assert "Error: sharpness=0 is not allowed: it must be a number above 0" in option.stderr


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("topk", "is taken by sae-kedro"), ("My_Variant", "must be lower-case words joined by hyphens")],
)
def test_a_bad_name_for_a_new_variant_is_refused(name, sentence, project, site, tmp_path):
    result = kedro(project, site, "sae", "new", name, "--output", tmp_path)
    assert result.returncode == 1 and sentence in result.stderr and not list(tmp_path.iterdir())


def test_describing_an_unknown_variant_names_the_nearest(project, site):
    result = kedro(project, site, "sae", "describe", "jumprelo")
    assert result.returncode == 1 and "did you mean 'jumprelu'" in result.stderr


def test_sae_list_starts_without_torch(project, site):
    script = (
        "import sys; from pathlib import Path; from kedro.framework.startup import bootstrap_project\n"
        "bootstrap_project(Path.cwd())\n"
        "from click.testing import CliRunner; from sae_kedro.cli import cli\n"
        "assert CliRunner().invoke(cli, ['sae', 'list']).exit_code == 0\n"
        "print('torch' in sys.modules)"
    )
    result = run_process("-c", script, folder=project, PYTHONPATH=str(site))
    assert result.stdout.strip() == "False", result.stderr + sys.version

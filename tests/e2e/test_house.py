"""What keeps the house in order: layers that hold, rooms that open without a change to others."""

from __future__ import annotations

import subprocess
from importlib import import_module
from importlib.util import find_spec
from inspect import getmembers, isfunction
from pathlib import Path

import pytest
from kedro.framework.project import pipelines

from conftest import ROOT
from running import copy_project, run_process
from sae_kedro.discovery import names_in

LONGEST_MODULE, LONGEST_HOOKS = 300, 80


def test_no_module_is_too_long():
    lengths = {file: len(file.read_text().splitlines()) for file in (ROOT / "src").rglob("*.py")}
    assert {file: length for file, length in lengths.items() if length > LONGEST_MODULE} == {}
    assert lengths[ROOT / "src" / "sae_kedro" / "hooks.py"] < LONGEST_HOOKS


def test_every_check_belongs_to_a_node_of_its_own_folder():
    import sae_kedro.pipelines as rooms

    nodes = {node.func for pipeline in pipelines.values() for node in pipeline.nodes}
    found = 0
    for folder in sorted({node.__module__.split(".")[2] for node in nodes}):
        assert folder in names_in(rooms.__name__)
        if find_spec(f"sae_kedro.pipelines.{folder}.checks") is None:
            continue
        checks = import_module(f"sae_kedro.pipelines.{folder}.checks")
        for name, check in getmembers(checks, isfunction):
            if check.__module__ == checks.__name__ and not name.startswith("_"):
                assert name in {node.__name__ for node in nodes if node.__module__.split(".")[2] == folder}
                found += 1
    assert found >= 6


@pytest.fixture(scope="module")
def linted(tmp_path_factory):
    """Lint the imports of a copy in which a module ends in one more line."""
    project = copy_project(tmp_path_factory.mktemp("linted"))

    def lint(module: str, line: str) -> subprocess.CompletedProcess[str]:
        file = project / "src" / "sae_kedro" / module
        before = file.read_text() if file.exists() else None
        file.write_text(f"{before or ''}{line}\n")
        script = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_logo=True))"
        try:
            return run_process("-c", script, folder=project, PYTHONPATH=str(project / "src"), COLUMNS="200")
        finally:
            file.unlink() if before is None else file.write_text(before)

    return lint


@pytest.mark.parametrize(
    ("module", "line", "broken"),
    [
        ("sae/topk.py", "from sae_kedro.training.loop import train", "sae_kedro.sae is not allowed to import"),
        ("errors.py", "from sae_kedro.machine import in_words", "sae_kedro.errors is not allowed to import"),
        ("evaluation/probes.py", "import kedro", "sae_kedro.evaluation is not allowed to import kedro"),
        ("sae/vanilla.py", "from sae_kedro.sae.topk import TopKSAE", "sae_kedro.sae.vanilla is not allowed to import"),
        ("training/loop.py", "from sae_kedro import load_sae", "sae_kedro.training.loop is not allowed to import"),
        ("another.py", "import math", "sae_kedro.another"),
    ],
    ids=["upwards", "on the ground floor", "kedro", "another variant", "the front door", "a room that has no place"],
)
def test_an_import_against_the_layers_is_refused(linted, module, line, broken):
    result = linted(module, line)
    assert result.returncode == 1
    assert broken in " ".join(result.stdout.split())


def test_the_layers_hold_as_they_are(linted):
    result = linted("errors.py", "")
    assert result.returncode == 0 and "Contracts: 4 kept, 0 broken." in result.stdout


HELLO = {
    "src/sae_kedro/pipelines/hello/__init__.py": """
\"\"\"A greeting.\"\"\"

from sae_kedro.pipelines.hello.pipeline import create_pipeline as create_pipeline
""",
    "src/sae_kedro/pipelines/hello/nodes.py": """
def greet(greeting):
    return f"{greeting}, world"
""",
    "src/sae_kedro/pipelines/hello/checks.py": """
from sae_kedro.errors import InputError


def greet(run):
    if run.cfg["greeting"] == "goodbye":
        raise InputError("greeting='goodbye' is no greeting; try 'hello'")
""",
    "src/sae_kedro/pipelines/hello/pipeline.py": """
from kedro.pipeline import Node, Pipeline

from sae_kedro.pipelines.hello import nodes


def create_pipeline():
    return Pipeline([Node(nodes.greet, "params:greeting", "greeted", name="greet")])
""",
    "src/sae_kedro/keys/hello.py": """
from pydantic import Field

from sae_kedro.validation import Incidental, Table


class Keys(Table):
    greeting: Incidental[str] = Field("hello", min_length=1, description="how the world is greeted")
""",
    "src/sae_kedro/cli/hello.py": """
import click


@click.command()
def hello():
    \"\"\"Greet the world.\"\"\"
    click.echo("hello, world")


COMMANDS = [hello]
""",
    "conf/base/parameters/hello.yml": "greeting: hello  # how the world is greeted\n",
    "conf/base/catalog/hello.yml": """
greeted:
  type: text.TextDataset
  filepath: ${_root}/08_reporting/greeting.txt
  metadata: {echo: true}
""",
}


@pytest.fixture(scope="module")
def greeting_project(tmp_path_factory) -> Path:
    """A copy of the project with one more pipeline."""
    project = copy_project(tmp_path_factory.mktemp("hello"))
    (project / ".gitignore").write_text((ROOT / ".gitignore").read_text())
    git(project, "init", "--quiet")
    git(project, "add", "--all")
    git(project, "-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "--quiet", "--message=before")
    for place, text in HELLO.items():
        file = project / place
        file.parent.mkdir(exist_ok=True)
        file.write_text(text.lstrip("\n"))
    registry = project / "src" / "sae_kedro" / "pipeline_registry.py"
    line = '        "compare": _part("compare"),\n'
    assert line in registry.read_text()
    registry.write_text(registry.read_text().replace(line, line + line.replace("compare", "hello")))
    return project


def git(project: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=project, check=True, capture_output=True, text=True).stdout


def kedro(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_process("-m", "kedro", *arguments, folder=project)


def test_a_new_pipeline_is_its_own_files_and_one_line_of_the_registry(greeting_project):
    status = git(greeting_project, "status", "--porcelain", "--untracked-files=all").splitlines()
    assert {line[3:] for line in status if line.startswith("??")} == set(HELLO)
    assert [line for line in status if not line.startswith("??")] == [" M src/sae_kedro/pipeline_registry.py"]
    assert git(greeting_project, "diff", "--numstat").split()[:2] == ["1", "0"]


def test_a_new_pipeline_runs_and_shows_what_its_catalog_says(greeting_project):
    result = kedro(greeting_project, "run", "--env=test", "--pipelines=hello", "--params=greeting=good morning")
    assert result.returncode == 0, result.stderr
    assert "good morning, world" in result.stdout
    written = greeting_project / "data" / "test" / "08_reporting" / "greeting.txt"
    assert written.read_text() == "good morning, world"


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("greeting=7", "greeting=7 is not allowed: it must be a text that is not empty"),
        ("greting=hi", "'greting' is not a known key; did you mean 'greeting'?"),
        ("greeting=goodbye", "greeting='goodbye' is no greeting; try 'hello'"),
    ],
    ids=["its key is validated", "its key is known", "its check refuses"],
)
def test_what_a_new_pipeline_brings_is_checked(greeting_project, given, sentence):
    result = kedro(greeting_project, "run", "--env=test", "--pipelines=hello", f"--params={given}")
    assert result.returncode == 1 and f"Error: {sentence}" in result.stderr


def test_a_new_command_is_listed_and_runs(greeting_project):
    assert "hello" in kedro(greeting_project, "sae", "--help").stdout
    assert kedro(greeting_project, "sae", "hello").stdout == "hello, world\n"


def test_other_pipelines_know_the_new_key_and_do_not_mind_it(greeting_project):
    script = (
        "import sys; sys.path.insert(0, 'src'); from sae_kedro import get_experiment_cfg, post_init_cfg\n"
        "from sae_kedro.keys import NOT_DECISIVE\n"
        "print(post_init_cfg(get_experiment_cfg())['greeting'], 'greeting' in NOT_DECISIVE)"
    )
    result = run_process("-c", script, folder=greeting_project)
    assert result.stdout == "hello True\n", result.stderr

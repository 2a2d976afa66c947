"""What README and docs say runs, and the site that is built from them stands on its own."""

from __future__ import annotations

import csv
import gzip
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from conftest import ROOT
from running import copy_project, run_process
from sae_kedro.cli import run, sae
from sae_kedro.sae.registry import sae_classes

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
DEPLOY = ROOT / "docs" / "how-to" / "deploy.md"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NOT_RUN = {"text", "toml"}
SHIMS = {
    # what a command of the documentation is shortened to
    "make": f'exec {shutil.which("make")} --dry-run "$@" > /dev/null',
    "pip": f'shift; exec {sys.executable} -m pip install --quiet --no-deps --no-build-isolation --target "$SITE" "$@"',
}


def blocks(page: Path) -> list[tuple[str, str]]:
    return BLOCK.findall(page.read_text())


@pytest.fixture(scope="module")
def place(docs, tmp_path_factory) -> Path:
    """A copy of the project with the files that the documentation speaks of, whose runs take seconds."""
    place = copy_project(tmp_path_factory.mktemp("documented") / "project")
    for name in ("README.md", "LICENSE", "Makefile", "constraints.txt", "setup.py", "MANIFEST.in"):
        shutil.copy(ROOT / name, place)
    shutil.copytree(ROOT / "plugins", place / "plugins", ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"))
    (place / "conf" / "test" / "globals.yml").write_text("data_root: data\n")
    texts = docs[:200]
    rows = "".join(json.dumps({"text": text, "label": "ab"[len(text) > 150]}) + "\n" for text in texts)
    (place / "my_texts.jsonl").write_text(rows)
    (place / "my_texts.jsonl.gz").write_bytes(gzip.compress(rows.encode()))
    papers = (json.dumps({"title": text[:30], "abstract": text}) + "\n" for text in texts[:20])
    (place / "my_papers.jsonl").write_text("".join(papers))
    vectors = np.random.default_rng(0).standard_normal((len(texts), 16)).astype(np.float16)
    np.save(place / "vectors.npy", vectors)
    pq.write_table(pa.table({"abstract": texts, "embedding": list(vectors)}), place / "my_papers.parquet")
    write_csv(place / "other_texts.csv", [["body"], *([text] for text in texts[:40])])
    pairs = [[a, b, i % 5] for i, (a, b) in enumerate(zip(texts[:20], texts[20:40], strict=True))]
    write_csv(place / "stsb.csv", [["sentence1", "sentence2", "score"], *pairs])
    (place / "scifact").mkdir()
    for name, part in {"queries": texts[:5], "corpus": texts[5:15]}.items():
        lines = (json.dumps({"_id": str(number), "text": text}) + "\n" for number, text in enumerate(part))
        (place / "scifact" / f"{name}.jsonl").write_text("".join(lines))
    (place / "scifact" / "qrels.tsv").write_text("".join(f"{number}\t{number}\t1\n" for number in range(5)))
    shims = place / "shims"
    shims.mkdir()
    for name, script in SHIMS.items():
        (shims / name).write_text(f"#!/bin/sh\n{script}\n")
        (shims / name).chmod(0o755)
    return place


def write_csv(file: Path, rows: list[list[object]]) -> None:
    with file.open("w", newline="") as handle:
        csv.writer(handle).writerows(rows)


@pytest.fixture
def documented(place, monkeypatch):
    """Stand in that project, in its test environment, and leave no variant behind."""
    monkeypatch.chdir(place)
    monkeypatch.setenv("KEDRO_ENV", "test")
    monkeypatch.setenv("SITE", str(place / "site-packages"))
    path = (
        str(place / "shims"),
        str(place / "site-packages" / "bin"),
        str(Path(sys.executable).parent),
        os.environ["PATH"],
    )
    monkeypatch.setenv("PATH", os.pathsep.join(path))
    monkeypatch.setattr(sae_classes, "_registered", {})
    (place / "site-packages").mkdir(exist_ok=True)
    monkeypatch.syspath_prepend(str(place / "site-packages"))
    monkeypatch.setenv("PYTHONPATH", str(place / "site-packages"))
    if not Path("data/06_models/topk/cfg.json").exists():
        kedro("kedro run")


def kedro(command: str) -> None:
    """Run a command of Kedro in this process, which has everything imported."""
    _, name, *arguments = shlex.split(command, comments=True)
    result = CliRunner().invoke({"run": run, "sae": sae}[name], arguments)
    assert result.exit_code == 0, (command, result.output, result.exception)


def shell(script: str) -> None:
    """Run the lines between two such commands."""
    if script.strip():
        done = subprocess.run(["bash", "-e", "-c", script], capture_output=True, text=True, check=False)
        assert done.returncode == 0, (script, done.stdout, done.stderr)


def test_every_block_says_what_it_is():
    kinds = {kind for page in PAGES for kind, _ in blocks(page)}
    assert kinds == {"bash", "python"} | NOT_RUN


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_code_of_the_documentation_runs(page, request):
    if any(kind not in NOT_RUN for kind, _ in blocks(page)) and page != DEPLOY:
        request.getfixturevalue("documented")
        run_blocks(page)


def test_the_package_trains_in_an_empty_folder(documented, place, monkeypatch):
    monkeypatch.delenv("KEDRO_ENV")  # which the wheel does not bring
    run_blocks(DEPLOY)
    elsewhere = place.parent / "elsewhere"
    trained = elsewhere / "data"
    assert json.loads((trained / "06_models" / "topk" / "cfg.json").read_text())["dataset_path"] == "other_texts.csv"
    evaluated = json.loads((trained / "08_reporting" / "topk" / "evaluate" / "metrics.json").read_text())
    assert (evaluated["n_texts"], evaluated["split"]) == (40, "partly trained on")
    wheels = [file.name for file in (place / "dist").glob("*.whl")]
    assert {file.name for file in elsewhere.iterdir()} == {"data", "other_texts.csv", *wheels}
    where = run_process("-c", "import sae_kedro; print(sae_kedro.__file__)", folder=elsewhere)
    assert where.stdout.startswith(str(place / "site-packages"))


def run_blocks(page: Path) -> None:
    """Run what a page says, in its order; its blocks of Python share their names."""
    names: dict[str, object] = {"__name__": "documentation"}
    for kind, text in blocks(page):
        if kind == "python":
            exec(compile(text, str(page), "exec"), names)
        if kind != "bash":
            continue
        waiting = ""
        for line in text.splitlines(keepends=True):
            if line.startswith(("kedro run", "kedro sae")):
                shell(waiting)
                kedro(line)
                waiting = ""
            else:
                waiting += line
        shell(waiting)


class Page(HTMLParser):
    """What a page loads, what it links to, and the places in it that can be linked to."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.places: set[str] = set()
        self.classes: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.places |= {found[name] for name in ("id", "name") if found.get(name)}
        self.classes |= set((found.get("class") or "").split())
        if found.get("src"):
            self.loads.append(found["src"])
        if found.get("href"):
            loaded = tag == "link" and found.get("rel") not in ("canonical", "prev", "next")
            (self.loads if loaded else self.links).append(found["href"])


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    site = tmp_path_factory.mktemp("site")
    built = run_process("-m", "mkdocs", "build", "--strict", "--site-dir", site, NO_MKDOCS_2_WARNING="1")
    assert built.returncode == 0, built.stderr
    return site


def test_the_site_loads_nothing_from_elsewhere_and_has_no_dead_link(site):
    pages = {file: Page(file.read_text()) for file in site.rglob("*.html")}
    assert len(pages) > 25
    for file, page in pages.items():
        assert "mermaid" not in page.classes  # the theme would fetch a script for it
        for address in (*page.loads, *page.links):
            parts = urlsplit(address)
            if parts.scheme in ("http", "https") or parts.netloc:
                assert address in page.links and address not in page.loads, (file, address)
                continue
            if parts.scheme in ("data", "mailto", "javascript") or file.name == "404.html":
                continue
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            assert target.exists(), (file, address)
            if parts.fragment and target in pages:
                assert unquote(parts.fragment) in pages[target].places, (file, address)
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(@import|url\()\s*[\"']?(https?:)?//", sheet.read_text()), sheet


def test_the_site_holds_what_it_takes_from_the_code(site):
    keys = (site / "reference" / "keys.html").read_text()
    assert all(f"<code>{key}</code>" in keys for key in ("dict_size", "sts_path", "top_ks", "bandwidth", "data_root"))
    assert "kedro sae cache prune" in (site / "reference" / "commands.html").read_text()
    assert "load_sae" in (site / "reference" / "api.html").read_text()
    assert "<math" in (site / "understand" / "variants.html").read_text()
    assert "<svg" in (site / "architecture.html").read_text()
    assert "{{" not in "".join(file.read_text() for file in site.rglob("*.html"))


def test_the_readme_is_short_and_its_links_lead_somewhere():
    readme = ROOT / "README.md"
    assert len(readme.read_text().splitlines()) <= 120
    for page in (readme, ROOT / "CONTRIBUTING.md", *ROOT.glob("plugins/*/README.md")):
        for link in re.findall(r"\]\(([^)#]+)|src=\"([^\"]+)", BLOCK.sub("", page.read_text())):
            address = "".join(link)
            assert address.startswith("https://") or (page.parent / address).exists(), (page, address)


def test_what_a_package_has_is_there():
    names = ["LICENSE", "CONTRIBUTING.md", "CHANGELOG.md", "CITATION.cff", "SECURITY.md", ".pre-commit-config.yaml"]
    assert [name for name in names if not (ROOT / name).exists()] == []
    assert "Copyright 2026 the sae_kedro authors" in (ROOT / "LICENSE").read_text()

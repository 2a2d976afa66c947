from __future__ import annotations

import json
import subprocess
import sys
from itertools import islice

import pytest

from sae_kedro.corpora.kinds.python_docs import environment_fingerprint, paragraphs


@pytest.fixture(scope="module")
def many() -> list[str]:
    return list(islice(paragraphs(), 2000))


def test_paragraphs_have_40_to_1000_characters(many):
    lengths = {len(paragraph) for paragraph in many}
    assert min(lengths) == 40
    assert 500 < max(lengths) <= 1000


def test_paragraphs_are_distinct(many):
    assert len(many) == len(set(many)) == 2000


def test_paragraphs_come_in_the_same_order_in_another_process(many):
    script = "import sys; from sae_kedro.corpora.kinds.python_docs import paragraphs\n"
    script += "import json, itertools; json.dump(list(itertools.islice(paragraphs(), 300)), sys.stdout)"
    # String hashes differ between the two processes, so an order that hangs on a set would show.
    again = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert json.loads(again.stdout) == many[:300]


def test_paragraphs_are_prose_on_one_line(many):
    for paragraph in many:
        assert ">>>" not in paragraph and "\n" not in paragraph and "  " not in paragraph
        assert paragraph.count(" ") >= 5
        # At least 85 % letters and spaces: no tables, no code, no rulers.
        assert sum(character.isalpha() or character == " " for character in paragraph) >= 0.85 * len(paragraph)


def test_reading_docstrings_imports_none_of_the_modules_that_hold_them():
    script = """
import sys
from itertools import islice
from sae_kedro.corpora.kinds.python_docs import paragraphs
before = set(sys.modules)
assert len(list(islice(paragraphs(), 2000))) == 2000
print(*{name.split(".")[0] for name in set(sys.modules) - before})
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    # What it takes to find the standard library and to decode its sources, and nothing else.
    needed = {"encodings", "unicodedata", "email"}
    assert {name for name in done.stdout.split() if not name.startswith("_")} <= needed


def test_the_fingerprint_is_the_same_in_another_process():
    script = "from sae_kedro.corpora.kinds.python_docs import environment_fingerprint as f; print(f())"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == environment_fingerprint()


def test_the_fingerprint_follows_the_installed_distributions(tmp_path, monkeypatch):
    before = environment_fingerprint()
    info = tmp_path / "newcomer-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: newcomer\nVersion: 1.0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert environment_fingerprint() != before


def test_an_installed_package_adds_its_paragraphs_but_not_its_tests_and_not_what_cannot_be_parsed(
    tmp_path, monkeypatch
):
    from sae_kedro.corpora.kinds import python_docs

    package, info = tmp_path / "newcomer", tmp_path / "newcomer-1.0.dist-info"
    (package / "tests").mkdir(parents=True)
    info.mkdir()
    sentence = "This paragraph of the {} is long enough to be read as prose."
    (package / "__init__.py").write_text(
        f'"""{sentence.format("package")}\n\n    >>> not.prose() == "but a doctest"\n"""'
    )
    (package / "tests" / "test_it.py").write_text(f'"""{sentence.format("tests")}"""')
    (package / "broken.py").write_text(f'"""{sentence.format("broken module")}"""\ndef (')
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: newcomer\nVersion: 1.0\n")
    files = ["newcomer/__init__.py", "newcomer/tests/test_it.py", "newcomer/broken.py", "newcomer/missing.py"]
    (info / "RECORD").write_text("".join(f"{file},,\n" for file in files))
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.setattr(python_docs.sysconfig, "get_path", lambda _: str(tmp_path / "no-standard-library"))
    assert list(paragraphs()) == [sentence.format("package")]

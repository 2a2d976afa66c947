"""English paragraphs from the docstrings of the running Python: a real corpus on any machine, without a network."""

from __future__ import annotations

import ast
import hashlib
import inspect
import platform
import re
import sysconfig
import warnings
from collections.abc import Iterator
from importlib.metadata import distributions
from itertools import islice
from pathlib import Path
from typing import Any

from sae_kedro.corpora.base import Source, without_columns

SHORTEST, LONGEST = 40, 1000
_BLANK_LINE = re.compile(r"\n\s*\n")
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


class PythonDocs(Source):
    """English paragraphs from the docstrings of the standard library and the installed packages."""

    name = "python-docs"

    @classmethod
    def open(cls, cfg: dict[str, Any], key: str) -> PythonDocs | None:
        """Open the docstrings if the path is their name."""
        if cfg["dataset_path"] != cls.name:
            return None
        if key != "text_column":
            raise without_columns(cfg, key)
        return cls()

    @property
    def fingerprint(self) -> str:
        """Changes with the interpreter and with the installed distributions."""
        return environment_fingerprint()

    def rows(self, start: int = 0) -> Iterator[str]:
        """Yield paragraphs in a fixed order."""
        return islice(paragraphs(), start, None)


def paragraphs() -> Iterator[str]:
    """Yield each distinct paragraph of 40 to 1,000 characters once, always in the same order.

    Sources are parsed with `ast` and never imported: first the standard library, then each installed
    distribution by name, files sorted by path.
    """
    seen: set[bytes] = set()  # 8-byte digests, so that memory stays small
    for file in _source_files():
        for docstring in _docstrings(file):
            for block in _BLANK_LINE.split(docstring):
                paragraph = " ".join(block.split())
                if SHORTEST <= len(paragraph) <= LONGEST and _is_prose(paragraph):
                    digest = hashlib.blake2b(paragraph.encode("utf-8", "replace"), digest_size=8).digest()
                    if digest not in seen:
                        seen.add(digest)
                        yield paragraph


def environment_fingerprint() -> str:
    """Hash the interpreter's version and the installed distributions."""
    installed = sorted(f"{dist.name}=={dist.version}" for dist in distributions())
    return hashlib.sha256("\n".join([platform.python_version(), *installed]).encode()).hexdigest()


def _source_files() -> Iterator[Path]:
    library = Path(sysconfig.get_path("stdlib"))
    skipped = {"site-packages", "dist-packages", "test", "tests", "idle_test", "lib2to3"}
    yield from (file for file in sorted(library.rglob("*.py")) if not skipped & set(file.relative_to(library).parts))
    for dist in sorted(distributions(), key=lambda dist: (dist.name or "").lower()):
        files = sorted(str(file) for file in dist.files or [] if file.suffix == ".py")
        yield from (Path(str(dist.locate_file(file))) for file in files if "tests" not in Path(file).parts)


def _docstrings(file: Path) -> Iterator[str]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError):
        return
    for node in ast.walk(tree):
        if isinstance(node, _DOCUMENTED) and (text := ast.get_docstring(node, clean=False)):
            yield inspect.cleandoc(text)


def _is_prose(paragraph: str) -> bool:
    """Leave out doctests, tables and code: prose is mostly letters and spaces and has several words."""
    if ">>>" in paragraph or paragraph.count(" ") < 5:
        return False
    return sum(character.isalpha() or character == " " for character in paragraph) >= 0.85 * len(paragraph)


KIND = PythonDocs

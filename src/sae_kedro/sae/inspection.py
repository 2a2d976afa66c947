"""What can be said of a variant from its source text, so that listing variants imports no torch."""

from __future__ import annotations

import ast
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from sae_kedro.errors import InputError
from sae_kedro.sae.registry import Provider, sae_classes

_HARMLESS = (ast.Import, ast.ImportFrom, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


class Listing(NamedTuple):
    """One line of the list of variants."""

    name: str
    provider: str
    version: str
    status: str
    """`ok`, or `broken: ` and why."""
    summary: str


def list_variants() -> list[Listing]:
    """Describe every registered variant.

    A module that only imports what is installed and defines classes is taken to be sound. One that does more when it
    is imported is imported, so that its own error can be shown.
    """
    return [_listing(name, offered) for name, offered in sae_classes.providers().items()]


def _listing(name: str, offered: list[Provider]) -> Listing:
    names = ", ".join(provider.distribution for provider in offered)
    versions = ", ".join(provider.version for provider in offered)
    summary = ""
    try:
        sound, summary = _read(sae_classes.provider(name).target)
        if not sound:
            summary = sae_classes[name].summary
    except InputError as error:
        return Listing(name, names, versions, f"broken: {error}", summary)
    return Listing(name, names, versions, "ok", summary)


def _read(target: str) -> tuple[bool, str]:
    """Tell whether a class is plainly fine as far as its module's text shows, and its `summary`."""
    module, _, attribute = target.partition(":")
    try:
        file = _source_file(module)
        tree = ast.parse(file.read_bytes()) if file else None
    except (OSError, SyntaxError, ValueError):
        tree = None
    if tree is None:
        return False, ""
    found = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == attribute]
    sound = bool(found) and all(_harmless(node) for node in tree.body)
    sound = sound and any(ast.unparse(base).endswith("SAE") for base in found[0].bases)
    summary = ""
    for node in found[0].body if found else []:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "summary":
            summary = str(node.value.value) if isinstance(node.value, ast.Constant) else ""
    return sound, summary


def _source_file(module: str) -> Path | None:
    """Find a module's source without importing it or its parents."""
    top, *rest = module.split(".")
    spec = find_spec(top)
    if spec is None:
        return None
    if not rest and spec.origin:
        return Path(spec.origin)
    for folder in spec.submodule_search_locations or []:
        for file in (Path(folder, *rest).with_suffix(".py"), Path(folder, *rest, "__init__.py")):
            if file.is_file():
                return file
    return None


def _harmless(node: ast.stmt) -> bool:
    if isinstance(node, ast.Import):
        return all(find_spec(alias.name.split(".")[0]) is not None for alias in node.names)
    if isinstance(node, ast.ImportFrom):
        if node.level:
            return True
        module = node.module or ""
        if module == "sae_kedro.sae":
            import sae_kedro.sae

            return {alias.name for alias in node.names} <= set(dir(sae_kedro.sae))
        return find_spec(module.split(".")[0]) is not None
    if isinstance(node, ast.Assign | ast.AnnAssign):
        return node.value is None or isinstance(node.value, ast.Constant | ast.List | ast.Tuple | ast.Dict)
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant)
    return isinstance(node, _HARMLESS)

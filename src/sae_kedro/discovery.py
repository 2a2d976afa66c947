"""Modules that belong together by lying in one folder: a new file there is found, nothing else is touched."""

from __future__ import annotations

import pkgutil
import sys
from importlib import import_module
from types import ModuleType


def names_in(package: str) -> list[str]:
    """List the modules that lie in the folder of a package, importing none.

    Args:
        package: Name of a package that is imported already.
    """
    return sorted(found.name for found in pkgutil.iter_modules(sys.modules[package].__path__))


def submodules(package: str) -> dict[str, ModuleType]:
    """Import the modules that lie in the folder of a package, and return them by name.

    Args:
        package: Name of a package that is imported already.
    """
    return {name: import_module(f"{package}.{name}") for name in names_in(package)}

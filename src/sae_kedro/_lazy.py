"""Public names that are imported on first use, so that `import sae_kedro` does not load torch."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any


def lazy_exports(package: str, origin: dict[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Build the module-level `__getattr__` and `__dir__` (PEP 562) of a package.

    Args:
        package: Name of the package that exports the names.
        origin: Public name to the module that defines it.
    """

    def __getattr__(name: str) -> Any:
        if name not in origin:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(origin[name]), name)

    def __dir__() -> list[str]:
        return sorted(origin)

    return __getattr__, __dir__

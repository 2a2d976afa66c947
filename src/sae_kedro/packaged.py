"""The configuration that comes with the package, for folders that are no project."""

from __future__ import annotations

from pathlib import Path

from kedro.utils import find_kedro_project


def packaged_configuration() -> Path | None:
    """Return the folder of the configuration that comes with the package; None in a project, which has its own."""
    if find_kedro_project(Path.cwd()) is not None:
        return None
    package = Path(__file__).parent
    places = (package / "conf", package.parents[1] / "conf")  # as installed, and as a checkout has it
    return next((place for place in places if place.is_dir()), None)

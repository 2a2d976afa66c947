"""Where the outputs of the project are, for commands that look at them."""

from __future__ import annotations

import os
from pathlib import Path

import click

from sae_kedro.packaged import packaged_configuration

data_root_option = click.option("--data-root", metavar="FOLDER", help="Default: the data_root of this project.")


def data_root(given: str | None) -> Path:
    """Return the folder of all outputs: the one that is given, or that of the project."""
    return Path(os.path.expanduser(given if given is not None else of_project()[0]))


def of_project() -> tuple[str, str | None]:
    """Return `data_root` and `cache_root` of this project, absolute."""
    from kedro.framework.session import KedroSession

    with KedroSession.create(conf_source=packaged_configuration()) as session:
        context = session.load_context()
    root, shared = (context.params.get(key) for key in ("data_root", "cache_root"))
    place = Path(context.project_path)
    return str(place / os.path.expanduser(root)), shared and str(place / os.path.expanduser(shared))

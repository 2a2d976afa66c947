"""Where the outputs of the project are, for commands that look at them."""

from __future__ import annotations

import os
from pathlib import Path

import click

from sae_kedro.packaged import packaged_configuration

data_root_option = click.option("--data-root", metavar="FOLDER", help="Default: the data_root of this project.")


def data_root(given: str | None) -> Path:
    """Return the folder of all outputs: the one that is given, or that of the project."""
    if given is not None:
        return Path(os.path.expanduser(given))
    from kedro.framework.session import KedroSession

    with KedroSession.create(conf_source=packaged_configuration()) as session:
        context = session.load_context()
    return Path(context.project_path) / os.path.expanduser(str(context.config_loader["globals"]["data_root"]))

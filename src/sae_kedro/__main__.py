"""The command `sae-kedro`, in a project folder or anywhere: `sae-kedro train texts.csv --text-column body`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any


def main(*args: Any, **kwargs: Any) -> Any:
    """Run a command; without one, a pipeline with the options of `kedro run`."""
    from sae_kedro.packaged import packaged_configuration

    if (conf := packaged_configuration()) is not None and not Path("conf", "logging.yml").is_file():
        os.environ.setdefault("KEDRO_LOGGING_CONFIG", str(conf / "logging.yml"))
    from kedro.framework.project import configure_project

    configure_project(__package__)
    from sae_kedro.cli.installed import commands

    kwargs["standalone_mode"] = not hasattr(sys, "ps1")
    return commands()(*args, **kwargs)


if __name__ == "__main__":
    main()

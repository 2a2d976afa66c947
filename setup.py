"""What pyproject.toml cannot say: the wheel brings the configuration, so that it runs where there is no project."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithConfiguration(build_py):
    """Put `conf/`, but for what is local, beside the modules of the package."""

    def run(self) -> None:
        """Build."""
        super().run()
        if not self.editable_mode:
            there = Path(self.build_lib, "sae_kedro", "conf")
            shutil.copytree("conf", there, ignore=shutil.ignore_patterns("local", "test"), dirs_exist_ok=True)


setup(cmdclass={"build_py": BuildWithConfiguration})

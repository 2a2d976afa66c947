"""What pyproject.toml cannot say: the wheel brings the configuration, so that it runs where there is no project."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithConfiguration(build_py):
    """Put `conf/` beside the modules of the package, with `conf/local` empty, as Kedro wants it."""

    def run(self) -> None:
        """Build."""
        super().run()
        if not self.editable_mode:
            there = Path(self.build_lib, "sae_kedro", "conf")
            shutil.rmtree(there, ignore_errors=True)
            shutil.copytree("conf/base", there / "base")
            shutil.copy("conf/logging.yml", there)
            (there / "local").mkdir()
            (there / "local" / ".gitkeep").touch()


setup(cmdclass={"build_py": BuildWithConfiguration})

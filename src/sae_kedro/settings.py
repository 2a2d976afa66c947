"""Kedro settings. Loaded by every command, so nothing heavy is imported here."""

import logging
import os
import warnings

from sae_kedro.hooks import CheckRun
from sae_kedro.progress import ShowProgress

warnings.filterwarnings("ignore", message="register_new_resolver", category=UserWarning)
# Nodes name types of libraries that load only when a node runs; no node takes a typed parameter group.
# A filter, because Kedro resets the levels of its loggers whenever a project is configured.
logging.getLogger("kedro.validation.type_extractor").addFilter(lambda record: record.levelno >= logging.ERROR)

HOOKS = (ShowProgress(), CheckRun())  # the last one is asked first
DISABLE_HOOKS_FOR_PLUGINS = ("kedro-telemetry",)
CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "local",
    "merge_strategy": {"parameters": "soft", "globals": "soft"},
    "custom_resolvers": {
        "home": lambda path: os.path.expanduser(str(path)),  # a leading ~ in a path
        "first_of": lambda first, second: second if first is None else first,
    },
}

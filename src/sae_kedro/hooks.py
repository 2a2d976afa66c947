"""What happens around a run: bad input is refused before the first node, nobody else writes where it writes, and what
it says is kept."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from kedro.framework.hooks import hook_impl


class CheckRun:
    """Refuses parameters, corpora and models that cannot work, before any model loads."""

    def __init__(self) -> None:
        self._held = ExitStack()

    @hook_impl
    def after_context_created(self, context: Any) -> None:
        """Remember where the project is, because catalog paths are relative to it."""
        self._project_path, self._config = Path(context.project_path), context.config_loader

    @hook_impl
    def after_catalog_created(self, conf_creds: dict[str, Any]) -> None:
        """Remember what `credentials.yml` says."""
        self._credentials = conf_creds

    @hook_impl
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Any, catalog: Any) -> None:
        """Ask the checks of the nodes that will run, in their order.

        Raises:
            InputError: One sentence on what is wrong.
        """
        from sae_kedro.errors import InputError
        from sae_kedro.pipelines.credentials import key_in_environment
        from sae_kedro.pipelines.planned_run import PlannedRun, check_of
        from sae_kedro.run_log import RunLog

        if "ParallelRunner" in str(run_params.get("runner")):
            raise InputError("ParallelRunner cannot pass a corpus or a buffer between processes; leave --runner out")
        if run_params.get("only_missing_outputs"):
            raise InputError("--only-missing-outputs would train anew and keep the old report; leave it out")
        self._held.close()  # what a run that was interrupted in this process has left
        given, shared = run_params["runtime_params"] or {}, self._config["globals"]
        parameters, inputs = catalog.load("parameters"), pipeline.inputs()
        run = PlannedRun(parameters, given, shared, catalog, inputs, self._project_path)
        with ExitStack() as held:
            log = held.enter_context(RunLog(run_params))
            held.enter_context(key_in_environment(self._credentials))
            for node in pipeline.nodes:
                if (check := check_of(node.func)) is not None:
                    check(run)
            run.check_inputs()
            for note in run.notes:
                logging.getLogger(__name__).warning(note)
            if any(name == "parameters" or name.startswith("params:") for name in inputs):
                catalog.save("parameters", run.placed)
            held.enter_context(run.hold_folders())
            if run.writes:
                log.write_to(run.reports, anew=run.starts_anew)
            run.provide_inputs()
            self._held = held.pop_all()

    @hook_impl
    def after_pipeline_run(self) -> None:
        """Let others write where this run wrote, and close its log."""
        self._held.close()

    @hook_impl
    def on_pipeline_error(self, error: Exception) -> None:
        """The same for a run that failed; its log ends with the error."""
        self._held.__exit__(type(error), error, error.__traceback__)

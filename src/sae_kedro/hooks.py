"""What happens around a run: bad input is refused before the first node, results are shown after the last."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from kedro.framework.hooks import hook_impl

logger = logging.getLogger(__name__)


class CheckRun:
    """Refuses parameters, corpora and models that cannot work, before any model loads."""

    @hook_impl
    def after_context_created(self, context: Any) -> None:
        """Remember where the project is, because catalog paths are relative to it."""
        self._project_path, self._config = Path(context.project_path), context.config_loader

    @hook_impl
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Any, catalog: Any) -> None:
        """Ask the checks of the nodes that will run, in their order.

        Raises:
            InputError: One sentence on what is wrong.
        """
        from sae_kedro.errors import InputError
        from sae_kedro.pipelines.planned_run import PlannedRun, check_of

        if "ParallelRunner" in str(run_params.get("runner")):
            raise InputError("ParallelRunner cannot pass a corpus or a buffer between processes; leave --runner out")
        given, shared = run_params["runtime_params"] or {}, self._config["globals"]
        parameters, inputs = catalog.load("parameters"), pipeline.inputs()
        run = PlannedRun(parameters, given, shared, catalog, inputs, self._project_path)
        for node in pipeline.nodes:
            if (check := check_of(node.func)) is not None:
                check(run)
        run.check_inputs()
        if any(name == "parameters" or name.startswith("params:") for name in inputs):
            catalog.save("parameters", parameters | {"data_root": run.cfg["data_root"]})


class ShowProgress:
    """Names each step as it starts, and prints at the end what the catalog marks to be echoed."""

    @hook_impl
    def before_pipeline_run(self, pipeline: Any, catalog: Any) -> None:
        """Count the steps."""
        self._done, self._total, self._catalog = 0, len(pipeline.nodes), catalog
        self._results: list[tuple[Any, Any]] = []

    @hook_impl
    def before_node_run(self, node: Any) -> None:
        """Name the step."""
        self._done += 1
        logger.info("[%d/%d] %s", self._done, self._total, node.name.rpartition(".")[2])

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any) -> None:
        """Remember the results."""
        metadata = getattr(self._catalog.get(dataset_name), "metadata", None)
        if isinstance(metadata, dict) and metadata.get("echo"):
            self._results.append((data, metadata["echo"]))

    @hook_impl
    def after_pipeline_run(self) -> None:
        """Print them."""
        from sae_kedro.echo import echo

        for data, how in self._results:
            echo(data, how)

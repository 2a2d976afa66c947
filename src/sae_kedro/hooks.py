"""What happens around a run: bad input is refused before the first node, results are shown after the last."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from kedro.framework.hooks import hook_impl

logger = logging.getLogger(__name__)

SHOWN = (
    "sae_type",
    "dict_size",
    "top_k",
    "fvu",
    "explained_variance",
    "cosine",
    "l0",
    "dead_fraction",
    "n_texts",
    "seconds",
)


class CheckParameters:
    """Refuses parameters, corpora and models that cannot work, before any model loads."""

    @hook_impl
    def after_context_created(self, context: Any) -> None:
        """Remember where the project is, because catalog paths are relative to it."""
        self._project_path, self._config = Path(context.project_path), context.config_loader

    @hook_impl
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Any, catalog: Any) -> None:
        """Check everything that can be checked without a model.

        Raises:
            InputError: One sentence on what is wrong.
        """
        if "parameters" not in pipeline.inputs():
            return
        from sae_kedro.activations.models import embedding_size
        from sae_kedro.activations.texts import open_corpus
        from sae_kedro.config import post_init_cfg
        from sae_kedro.errors import InputError

        parameters = catalog.load("parameters")
        given = {**self._config["globals"], **(run_params["runtime_params"] or {})}
        for key in (
            "sae_type",
            "data_root",
        ):  # they are part of output paths, which only these two places reach
            if parameters.get(key) != given.get(key):
                raise InputError(
                    f"set {key}={parameters.get(key)!r} in globals.yml or with --params, not in parameters.yml"
                )
        parameters["data_root"] = str(self._project_path / Path(parameters["data_root"]).expanduser())
        cfg = post_init_cfg(parameters)
        open_corpus(cfg)
        if (size := embedding_size(cfg["model_name"])) != cfg["act_size"]:
            raise InputError(
                f"act_size={cfg['act_size']} does not match {cfg['model_name']}, whose embeddings have size {size}; "
                "leave act_size at null"
            )
        catalog.save("parameters", parameters)


class ShowProgress:
    """Names each step as it starts, and prints the main metrics at the end."""

    @hook_impl
    def before_pipeline_run(self, pipeline: Any) -> None:
        """Count the steps."""
        self._metrics: dict[str, Any] | None = None
        self._done, self._total = 0, len(pipeline.nodes)

    @hook_impl
    def before_node_run(self, node: Any) -> None:
        """Name the step."""
        self._done += 1
        logger.info("[%d/%d] %s", self._done, self._total, node.name)

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any) -> None:
        """Remember the metrics."""
        if dataset_name == "metrics":
            self._metrics = data

    @hook_impl
    def after_pipeline_run(self) -> None:
        """Print a table of the metrics."""
        if self._metrics is None:
            return
        from rich.console import Console
        from rich.table import Table

        about = self._metrics
        table = Table("metric", "value")
        for name in SHOWN:
            value = about[name]
            table.add_row(name, f"{value:.4f}" if isinstance(value, float) else str(value))
        console = Console()
        console.print(f"{about['name']} on {about['dataset_path']}", highlight=False, soft_wrap=True)
        console.print(table)

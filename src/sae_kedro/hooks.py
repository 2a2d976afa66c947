"""What happens around a run: bad input is refused before the first node, results are shown after the last."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import click
from kedro.framework.hooks import hook_impl

logger = logging.getLogger(__name__)

PATH_KEYS = ("sae_type", "data_root")
"""Keys that are part of output paths: the catalog reads them from globals.yml and --params alone."""

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
        from sae_kedro.activations.models import check_weights, stated_size
        from sae_kedro.activations.texts import open_corpus, open_labels
        from sae_kedro.config import post_init_cfg
        from sae_kedro.errors import InputError, shown
        from sae_kedro.evaluation.stability import load_other_seed
        from sae_kedro.evaluation.text_sets import check_text_sets
        from sae_kedro.memory import check_training_memory
        from sae_kedro.training.checkpoint import check_resumable

        if "ParallelRunner" in str(run_params.get("runner")):
            raise InputError("ParallelRunner cannot pass a corpus or a buffer between processes; leave --runner out")
        parameters, nodes = catalog.load("parameters"), {node.name for node in pipeline.nodes}
        params = run_params["runtime_params"] or {}
        compares = "plan_comparison" in nodes
        cfg = _check_comparison(parameters, params) if compares else post_init_cfg(parameters)
        given = {**self._config["globals"], **params}
        for key in PATH_KEYS:
            value = parameters.get(key, cfg[key])
            if value != given.get(key):
                raise InputError(f"set {key}={value!r} in globals.yml or with --params, not in parameters.yml")
        for key in self._config["globals"].keys() - set(PATH_KEYS):
            raise InputError(f"{key!r} has no effect in globals.yml; set it in parameters.yml or with --params")
        parameters["data_root"] = str(self._project_path / os.path.expanduser(cfg["data_root"]))
        _check_writable(Path(parameters["data_root"]), cfg["data_root"])
        trains = {"train_sae", "compare_variants"} & nodes
        if trains and 1.5 * cfg["eval_fraction"] >= 1:
            raise InputError(
                f"eval_fraction={cfg['eval_fraction']} leaves no text to train on, as half as many again calibrate; "
                "choose at most 0.6"
            )
        own_folder = Path(parameters["data_root"]) / "06_models" / cfg["sae_type"]
        if cfg["resume"] and "train_sae" in nodes:
            check_resumable(own_folder / "checkpoints", cfg)
        open_corpus(cfg)
        if "run_downstream" in nodes:
            check_text_sets(cfg)
            if cfg["label_column"] is not None:
                open_labels(cfg)
            if cfg["stability_path"] is not None:
                if Path(cfg["stability_path"]).expanduser().resolve() == own_folder.resolve():
                    raise InputError(
                        f"stability_path={shown(cfg['stability_path'])} is where this SAE itself is saved; move "
                        "the one of the other seed to a folder of its own"
                    )
                load_other_seed(cfg)
        check_weights(cfg["model_name"])
        if (size := stated_size(cfg["model_name"])) not in (None, cfg["act_size"]):
            raise InputError(
                f"act_size={cfg['act_size']} does not match {cfg['model_name']}, whose embeddings have size {size}; "
                "leave act_size at null"
            )
        if trains:
            check_training_memory(cfg)
        if "sae" in pipeline.inputs():
            if not catalog.exists("sae"):
                raise InputError(
                    f"there is no trained {cfg['sae_type']} SAE in data_root={cfg['data_root']!r}; "
                    f"run `kedro run --pipelines train --params sae_type={cfg['sae_type']}` first"
                )
            trained_with = catalog.load("sae").cfg
            given_here = {"dict_size", "top_k", "input_unit_norm"} & set(params)
            for key in ("model_name", "act_size", *sorted(given_here)):
                value = trained_with.get(key, cfg[key])
                if value != cfg[key]:
                    raise InputError(
                        f"{key}={cfg[key]!r} is not what this SAE was trained with; set {key}={shown(value)}"
                    )
        catalog.save("parameters", parameters)


def _check_comparison(parameters: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Check the configuration of every model, and return the first."""
    from sae_kedro.comparison import comparison_cfgs
    from sae_kedro.errors import InputError

    for key in ("sae_type", "top_k"):
        if key in given:
            raise InputError(f"compare does not read {key}; set {key}s={given[key]}")
    for key in ("label_column", "sts_path", "retrieval_path", "stability_path"):
        if parameters.get(key) is not None:
            logger.warning("compare does not read %s=%r; it is for the evaluation of one SAE", key, parameters[key])
    return comparison_cfgs(parameters)[0]


def _check_writable(folder: Path, given: str) -> None:
    from sae_kedro.errors import InputError

    if "\0" in given or os.path.expanduser(given).startswith("~"):
        raise InputError(f"data_root={given!r} is not a folder's name: it holds a NUL or names nobody's home")
    try:
        existing = next(place for place in (folder, *folder.parents) if place.exists())
    except OSError as error:
        raise InputError(f"data_root={given!r} cannot be written: {error.strerror}") from error
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise InputError(f"data_root={given!r} cannot be written: {existing} is not a folder with write permission")


class ShowProgress:
    """Names each step as it starts, and prints the main metrics at the end."""

    @hook_impl
    def before_pipeline_run(self, pipeline: Any) -> None:
        """Count the steps."""
        self._metrics: dict[str, Any] | None = None
        self._comparison: str | None = None
        self._done, self._total = 0, len(pipeline.nodes)

    @hook_impl
    def before_node_run(self, node: Any) -> None:
        """Name the step."""
        self._done += 1
        logger.info("[%d/%d] %s", self._done, self._total, node.name)

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any) -> None:
        """Remember the results."""
        if dataset_name == "metrics":
            self._metrics = data
        elif dataset_name == "comparison_table":
            self._comparison = data

    @hook_impl
    def after_pipeline_run(self) -> None:
        """Print a table of the results."""
        if self._comparison is not None:
            click.echo(self._comparison, nl=False)
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

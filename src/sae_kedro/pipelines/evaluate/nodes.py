"""Nodes that evaluate a trained SAE. Heavy libraries load inside them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

    from sae_kedro.activations.store import ActivationsStoreSBERT
    from sae_kedro.evaluation.metrics import Evaluation
    from sae_kedro.sae.base import SAE

logger = logging.getLogger(__name__)

MOST_GAP = 1.5
"""Held-out FVU over that of training from which on a dictionary is too large for its texts."""
TEXTS_PER_LATENT = 3
"""Texts a latent at which few texts are reconstructed best, or nearly so, on held-out ones (measured: 2 to 4)."""


def evaluate_sae(cfg: dict[str, Any], sae: SAE, activations_store: ActivationsStoreSBERT) -> Evaluation:
    """Measure reconstruction and sparsity on held-out texts; where some were trained on, say so."""
    from sae_kedro.evaluation.metrics import evaluate

    evaluation = evaluate(sae.to(activations_store.device), activations_store)
    evaluation.metrics["split"] = _split_name(cfg, sae, activations_store, evaluation.metrics["split"])
    if sae.cfg.get("training", {}).get("data") == activations_store.data_key:
        _warn_of_overfitting(sae, evaluation.metrics)
    return evaluation


def run_downstream(cfg: dict[str, Any], sae: SAE, activations_store: ActivationsStoreSBERT) -> dict[str, Any]:
    """Classify, compare and retrieve with embeddings, reconstructions and codes, where the parameters name data."""
    from sae_kedro.evaluation.downstream import downstream

    return downstream(sae.to(activations_store.device), activations_store, cfg)


def report_metrics(
    cfg: dict[str, Any], sae: SAE, evaluation: Evaluation, downstream: dict[str, Any]
) -> tuple[dict[str, Any], pd.DataFrame]:
    """Name the run beside its metrics, and list every latent."""
    from sae_kedro.evaluation.metrics import latent_table

    about = {key: sae.cfg.get(key) for key in ("sae_type", "name", "dict_size", "top_k", "model_name")}
    trained = {key: sae.cfg.get("training", {}).get(key) for key in ("n_texts", "n_steps", "seconds")}
    metrics = about | {"dataset_path": cfg["dataset_path"]} | evaluation.metrics | downstream
    metrics |= {
        "n_train_texts": trained["n_texts"],
        "n_steps": trained["n_steps"],
        "seconds": trained["seconds"],
    }
    return metrics, latent_table(sae, evaluation)


def _split_name(cfg: dict[str, Any], sae: SAE, store: ActivationsStoreSBERT, split: str) -> str:
    """Say which texts were evaluated on, as seen from this SAE; warn where it was trained on some of them.

    The same texts are known by their key, whatever the path, and by their path, whatever they are encoded with.
    """
    same_path = all(sae.cfg.get(key) == cfg[key] for key in ("dataset_path", "dataset_config", "dataset_split"))
    trained = sae.cfg.get("training", {})
    if not same_path and trained.get("data") != store.data_key:
        if split == "held_out" and trained.get("split_by", "text") == store.split_by:
            return split  # the same hash holds the same text out everywhere
        return "another corpus"
    trained_at, now = sae.cfg.get("eval_fraction"), cfg["eval_fraction"]
    if trained_at is None or now == trained_at or 0 < now < trained_at:
        return split
    logger.warning(
        "This SAE was trained on some of these texts, so its metrics flatter it: eval_fraction was %g in training",
        trained_at,
    )
    return "partly trained on"


def _warn_of_overfitting(sae: SAE, metrics: dict[str, Any]) -> None:
    """Warn where the dictionary is too large for the texts: it reconstructs what it has seen far better."""
    trained = sae.cfg["training"]
    if metrics["split"] != "held_out" or None in (metrics["fvu"], trained.get("fvu")):
        return
    if metrics["fvu"] > MOST_GAP * trained["fvu"]:
        fits = max(1, trained["n_texts"] // TEXTS_PER_LATENT)
        logger.warning(
            "FVU is %.3f on held-out texts and %.3f on those it was trained on: %s latents learn %s texts by heart; "
            "take more texts%s",
            metrics["fvu"],
            trained["fvu"],
            f"{sae.dict_size:,}",
            f"{trained['n_texts']:,}",
            f", or dict_size of at most {fits}" if fits < sae.dict_size else ", and more that differ",
        )


def plot_evaluation(evaluation: Evaluation) -> list[go.Figure]:
    """Draw every figure that there is: latent densities, L0, FVU against the number of codes kept."""
    from sae_kedro.evaluation.figures import figures

    return [figure(evaluation) for figure in figures().values()]


def write_report(metrics: dict[str, Any], *figures: go.Figure) -> tuple[str, str]:
    """Put the metrics and all figures on one HTML page, and the metrics on one of Markdown."""
    from sae_kedro.evaluation.report import report_html, report_markdown

    return report_html(metrics, list(figures)), report_markdown(metrics)

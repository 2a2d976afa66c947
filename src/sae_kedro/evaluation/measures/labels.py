"""Probes for the labels of held-out texts."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from sae_kedro.activations.labels import LabelledRows, labelled_rows
from sae_kedro.activations.store import ActivationsStoreSBERT
from sae_kedro.corpora.opening import open_labels
from sae_kedro.evaluation.bootstrap import means_with_intervals
from sae_kedro.evaluation.meanings import Meaning
from sae_kedro.evaluation.representations import SPACES, represent
from sae_kedro.sae.base import SAE

logger = logging.getLogger(__name__)

KEY = "label_column"
MEANINGS = {
    "probe": Meaning(
        "Labels predicted",
        "Accuracy of a linear probe for the labels, fitted on training texts and scored on held-out ones.",
        headline=True,
        better="higher",
        unit="%",
        beside=("probe_majority",),
    ),
    **{
        f"probe_k{k}": Meaning(
            f"Labels predicted, k {k}",
            f"The same for a probe that sees only {k} of the latents, or of the embedding's elements, per class.",
            better="higher",
            unit="%",
        )
        for k in (1, 5, 20)
    },
    "probe_majority": Meaning("Most frequent label", "Accuracy of always naming the most frequent label.", unit="%"),
    "probe_n_train": Meaning("Texts for probes", "Labelled texts that probes learn from."),
    "probe_n_test": Meaning("Texts to score on", "Labelled texts that probes are scored on."),
    "probe_n_classes": Meaning("Labels", "Different labels that probes tell apart."),
}
LEAST_PER_CLASS = 3
"""Mean number of texts a class needs for probes to be worth fitting."""


def check(cfg: dict[str, Any]) -> None:
    """Make sure that the corpus has this column.

    Raises:
        InputError: It has not.
    """
    open_labels(cfg)


def measure(sae: SAE, store: ActivationsStoreSBERT, cfg: dict[str, Any]) -> dict[str, Any]:
    """Probe for the labels in the column that the configuration names."""
    return probes(sae, labelled_rows(store, open_labels(cfg)), cfg[KEY])


def probes(sae: SAE, rows: LabelledRows, label_column: str) -> dict[str, Any]:
    """Fit probes for labels on training texts, and score them on held-out ones.

    Where all texts are held out, the hash of its text puts a third of them in the part that is scored on.

    Returns:
        `probe_*`, `probe_k1_*`, ...: accuracies; and how many texts and classes there were. Nothing, with a warning,
        where there are too few labelled texts.
    """
    from sae_kedro.evaluation.probes import probe  # which loads scikit-learn

    labels = np.array(rows.labels, dtype=str)
    testing = rows.hashes % 3 == 0 if rows.held_out.all() else rows.held_out
    n_classes, n_test = len(set(labels[~testing])), int(testing.sum())
    if n_classes < 2 or n_test == 0 or len(labels) - n_test < LEAST_PER_CLASS * n_classes:
        logger.warning(
            "No probes: label_column=%r gives %d classes in %d texts to learn from, and %d to score on; probes need at "
            "least two classes of %d texts",
            label_column,
            n_classes,
            len(labels) - n_test,
            n_test,
            LEAST_PER_CLASS,
        )
        return {}
    logger.info("Probes learn %d classes from %d texts, and are scored on %d", n_classes, len(labels) - n_test, n_test)
    texts = represent(sae, rows.vectors)
    metrics: dict[str, Any] = {"probe_n_train": len(labels) - n_test, "probe_n_test": n_test}
    metrics["probe_n_classes"] = n_classes
    correct = {}
    for space in SPACES:
        x = getattr(texts, space)
        result = probe(x[~testing], labels[~testing], x[testing], labels[testing])
        metrics["probe_majority"] = result.majority
        correct[f"probe_{space}"] = result.correct.astype(np.float64)
        for k, right in result.k_sparse_correct.items():
            correct[f"probe_k{k}_{space}"] = right.astype(np.float64)
    return metrics | means_with_intervals(correct)

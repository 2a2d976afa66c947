"""What users do with embeddings, done with embeddings, reconstructions and codes: classify, compare, retrieve.

And whether the features that they would look at are found again with another seed.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from torch import Tensor

from sae_kedro.activations.labels import LabelledRows, labelled_eval_rows
from sae_kedro.activations.listed import embed_texts
from sae_kedro.activations.store import ActivationsStoreSBERT
from sae_kedro.activations.texts import open_labels
from sae_kedro.evaluation.bootstrap import mean_intervals, statistic_interval
from sae_kedro.evaluation.geometry import spearman
from sae_kedro.evaluation.metrics import without_nan
from sae_kedro.evaluation.report import SPACES
from sae_kedro.evaluation.representations import cosines, represent
from sae_kedro.evaluation.stability import feature_stability, load_other_seed
from sae_kedro.evaluation.text_sets import RetrievalSet, SentencePairs, read_pairs, read_retrieval
from sae_kedro.sae.base import SAE

logger = logging.getLogger(__name__)

LEAST_PER_CLASS = 3
"""Mean number of texts a class needs for probes to be worth fitting."""


def downstream(sae: SAE, store: ActivationsStoreSBERT, cfg: dict[str, Any]) -> dict[str, Any]:
    """Run the tasks that the configuration names, each on the three representations.

    Args:
        sae: A trained SAE.
        store: Serves held-out rows, and encodes the texts of other sets.
        cfg: Reads `label_column`, `sts_path`, `retrieval_path` and `stability_path`; a task whose key is null is left
            out.

    Returns:
        Metrics by name, with `_ci95` for intervals.
    """
    metrics: dict[str, Any] = {}
    if cfg["label_column"] is not None:
        metrics |= probes(sae, labelled_eval_rows(store, open_labels(cfg)), cfg["label_column"])
    encoder = store.cache.encoder
    if cfg["sts_path"] is not None:
        pairs = read_pairs(cfg["sts_path"])
        texts = embed_texts("sts", pairs.first + pairs.second, cfg, encoder)
        metrics |= similarity(sae, texts, pairs)
    if cfg["retrieval_path"] is not None:
        found = read_retrieval(cfg["retrieval_path"])
        texts = embed_texts("retrieval", [*found.queries.values(), *found.documents.values()], cfg, encoder)
        metrics |= retrieval(sae, texts, found)
    if cfg["stability_path"] is not None:
        other = load_other_seed(cfg)
        if sae.cfg.get("seed") == other.cfg.get("seed"):
            logger.warning(
                "Both SAEs have seed=%s, so feature_stability flatters: they began alike", sae.cfg.get("seed")
            )
        metrics["feature_stability"] = feature_stability(sae.W_dec.cpu(), other.W_dec)
    return metrics


def probes(sae: SAE, rows: LabelledRows, label_column: str) -> dict[str, Any]:
    """Probe for the labels of held-out texts; the hash of its text puts a third of them in the probes' test part.

    Returns:
        `probe_*`, `probe_k1_*`, ...: accuracies; and how many texts and classes there were. Nothing, with a warning,
        where there are too few labelled texts.
    """
    from sae_kedro.evaluation.probes import probe

    labels, testing = np.array(rows.labels, dtype=str), rows.hashes % 3 == 0
    n_classes, n_test = len(set(labels[~testing])), int(testing.sum())
    if n_classes < 2 or n_test == 0 or len(labels) < LEAST_PER_CLASS * n_classes:
        logger.warning(
            "No probes: label_column=%r gives %d classes in %d held-out texts; probes need at least two classes "
            "of %d texts",
            label_column,
            n_classes,
            len(labels),
            LEAST_PER_CLASS,
        )
        return {}
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
    return metrics | _means(correct)


def similarity(sae: SAE, embeddings: Tensor, pairs: SentencePairs) -> dict[str, Any]:
    """Correlate cosines with people's scores by rank: `sts_*`.

    Args:
        sae: A trained SAE.
        embeddings: `(2 n_pairs, act_size)`: the first sentences, then the second ones.
        pairs: Where they come from.
    """
    texts, n = represent(sae, embeddings), len(pairs.scores)
    scores = np.array(pairs.scores, dtype=np.float64)
    metrics: dict[str, Any] = {"sts_n_pairs": n}
    for space in SPACES:
        x = getattr(texts, space)
        found = cosines(x[:n], x[n:])
        metrics[f"sts_{space}"] = spearman(found, scores)
        metrics[f"sts_{space}_ci95"] = statistic_interval(spearman, found, scores)
    return without_nan(metrics)


def retrieval(sae: SAE, embeddings: Tensor, found: RetrievalSet) -> dict[str, Any]:
    """Rank documents for each query by cosine: `ndcg_at_10_*`, means over queries.

    Args:
        sae: A trained SAE.
        embeddings: `(n_queries + n_documents, act_size)`: the queries, then the documents.
        found: Where they come from.
    """
    from sae_kedro.evaluation.retrieval import ndcg

    texts, n = represent(sae, embeddings), len(found.queries)
    ids = list(found.queries), list(found.documents)
    gains = {}
    for space in SPACES:
        x = getattr(texts, space)
        gains[f"ndcg_at_10_{space}"] = ndcg(x[:n], x[n:], *ids, found.relevance)
    return {"retrieval_n_queries": n, "retrieval_n_documents": len(found.documents)} | _means(gains)


def _means(values: dict[str, np.ndarray[Any, np.dtype[np.float64]]]) -> dict[str, Any]:
    metrics: dict[str, Any] = {}
    intervals = mean_intervals(values)
    for name, each in values.items():
        metrics[name] = float(each.mean())
        metrics[f"{name}_ci95"] = intervals[name]
    return metrics

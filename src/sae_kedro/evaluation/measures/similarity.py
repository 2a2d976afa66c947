"""Whether cosines order pairs of sentences as people do."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from sae_kedro.activations.listed import embed_texts
from sae_kedro.activations.store import ActivationsStoreSBERT
from sae_kedro.evaluation.bootstrap import statistic_interval
from sae_kedro.evaluation.geometry import spearman
from sae_kedro.evaluation.meanings import Meaning
from sae_kedro.evaluation.metrics import without_nan
from sae_kedro.evaluation.representations import SPACES, cosines, represent
from sae_kedro.evaluation.text_sets import SentencePairs, check_model_named, read_pairs
from sae_kedro.sae.base import SAE

KEY = "sts_path"
MEANINGS = {
    "sts": Meaning(
        "Agreement with people",
        "Rank correlation of the cosines of pairs of sentences with the scores that people gave them.",
        headline=True,
        better="higher",
    ),
    "sts_n_pairs": Meaning("Scored pairs", "Pairs of sentences that people scored."),
}


def check(cfg: dict[str, Any]) -> None:
    """Make sure that the pairs can be read.

    Raises:
        InputError: They cannot, or no model is known that encodes them.
    """
    check_model_named(cfg, KEY)
    read_pairs(cfg[KEY])


def measure(sae: SAE, store: ActivationsStoreSBERT, cfg: dict[str, Any]) -> dict[str, Any]:
    """Correlate cosines with people's scores on the pairs that the configuration names."""
    pairs = read_pairs(cfg[KEY])
    return similarity(sae, embed_texts("sts", pairs.first + pairs.second, cfg, store.cache.encoder.for_texts()), pairs)


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

"""Features and texts on a map, as tables that Embedding Atlas and other viewers of points open."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import sparse

from sae_kedro.explorer.layout import layout
from sae_kedro.interpretation.features import Features
from sae_kedro.sae.base import SAE

MOST = 32
"""Features that are listed of a text: its strongest."""


def with_places(features: Features, sae: SAE) -> Features:
    """Add `x` and `y` to the table of features: those of like directions lie together."""
    table = features.table.copy()
    places = layout(sae.W_dec.detach().float().cpu().numpy(), table["n_texts"].to_numpy())
    table["x"], table["y"] = places[table["latent"]].T
    return dataclasses.replace(features, table=table)


def text_map(features: Features, codes: sparse.csr_array, texts: Sequence[str | None]) -> pd.DataFrame:
    """Put texts on the map of features: each where its features are, the stronger the nearer.

    Args:
        features: With places.
        codes: `(n, dict_size)`, as `sae.transform` gives them.
        texts: `n` texts.

    Returns:
        `row, text, x, y, strongest, n_features, features, activations`. `features` lists names such as `812 · card
        payments`, the strongest first, `activations` how strong each is, and `strongest` is the first name. A text on
        which nothing fires is nowhere.
    """
    table = features.table.sort_values("latent")
    labels = features.labels
    names = np.array([f"{i} · {labels[i]}" if i in labels else f"{i}" for i in table["latent"]], dtype=object)
    weights = abs(sparse.csr_array(codes, dtype=np.float64))
    with np.errstate(invalid="ignore"):
        places = (weights @ table[["x", "y"]].to_numpy(np.float64)) / weights.sum(axis=1)[:, None]
    counts = np.diff(weights.indptr)
    order = np.lexsort((-weights.data, np.repeat(np.arange(len(counts)), counts)))
    rank = np.arange(len(order)) - np.repeat(weights.indptr[:-1], counts)
    shown, ends = order[rank < MOST], np.minimum(counts, MOST).cumsum()[:-1]
    named = np.split(names[codes.indices[shown]], ends) if len(counts) else []
    return pd.DataFrame(
        {
            "row": np.arange(len(counts)),
            "text": list(texts),
            "x": places[:, 0].astype(np.float32),
            "y": places[:, 1].astype(np.float32),
            "strongest": [row[0] if len(row) else None for row in named],
            "n_features": counts.astype(np.int32),
            "features": named,
            "activations": np.split(codes.data[shown], ends) if len(counts) else [],
        }
    )

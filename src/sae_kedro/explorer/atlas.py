"""Features and texts on a map, as tables that Embedding Atlas and other viewers of points open."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
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
        `row, text, x, y, strongest, n_features, features`. `strongest` is the name of its strongest feature; `features`
        lists names and activations, the strongest first. A text on which nothing fires is nowhere.
    """
    table = features.table.sort_values("latent")
    names = pa.array([features.labels.get(latent, f"latent {latent}") for latent in table["latent"]], pa.string())
    weights = abs(sparse.csr_array(codes, dtype=np.float64))
    whole = np.asarray(weights.sum(axis=1))
    with np.errstate(invalid="ignore"):
        places = (weights @ table[["x", "y"]].to_numpy(np.float64)) / whole[:, None]
    counts = np.diff(weights.indptr)
    rows = np.repeat(np.arange(len(counts)), counts)
    order = np.lexsort((-weights.data, rows))
    rank = np.arange(len(order)) - np.repeat(weights.indptr[:-1], counts)
    shown = order[rank < MOST]
    named = names.take(pa.array(codes.indices[shown]))
    pairs = pa.StructArray.from_arrays([named, pa.array(codes.data[shown], pa.float32())], ["name", "value"])
    offsets = np.concatenate([[0], np.minimum(counts, MOST).cumsum()]).astype(np.int32)
    found = pa.table(
        {
            "row": pa.array(np.arange(len(counts))),
            "text": pa.array(texts, pa.string()),
            "x": pa.array(places[:, 0], pa.float32(), from_pandas=True),
            "y": pa.array(places[:, 1], pa.float32(), from_pandas=True),
            "strongest": named.take(pa.array(np.where(counts > 0, offsets[:-1], -1), mask=counts == 0)),
            "n_features": pa.array(counts.astype(np.int32)),
            "features": pa.ListArray.from_arrays(pa.array(offsets), pairs),
        }
    )
    return found.to_pandas(types_mapper=pd.ArrowDtype)

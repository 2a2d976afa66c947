"""Which texts of a corpus a page holds, and what it tells of all of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy import sparse

from sae_kedro.explorer.packing import quantised

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.int64]

BINS, DECILES = 20, 10
N_NEAR, MOST_NEAR = 5, 20_000
"""Near misses of a feature, and texts among which they are looked for."""
BLOCK = 512


def by_decile(table: pd.DataFrame, n_texts: int) -> Ints:
    """Put rows of a corpus in the order in which a page takes them.

    First come the strongest texts of each feature, then one of each of its deciles; rows that no feature names follow
    by chance, always the same.
    """
    level = np.full(n_texts, np.iinfo(np.int64).max)
    for top, deciles in zip(table["top_rows"], table["decile_rows"], strict=True):
        rows = np.array([*top[:3], *deciles, *top[3:]], dtype=np.int64)
        np.minimum.at(level, rows, np.arange(len(rows)))
    return np.lexsort((np.random.default_rng(0).permutation(n_texts), level))


def histograms(codes: sparse.csr_array, largest: Floats) -> NDArray[np.uint32]:
    """Count activations of all texts in `BINS` bins up to each latent's largest: `(dict_size * BINS,)`."""
    steps = quantised(codes.data, largest[codes.indices])
    bins = (steps.astype(np.int64) - 1) * BINS // 255
    return np.bincount(codes.indices * np.int64(BINS) + bins, minlength=codes.shape[1] * BINS).astype(np.uint32)


def decile_bounds(codes: sparse.csr_array, largest: Floats) -> NDArray[np.uint8]:
    """Return, in 255ths, the least activation of each decile of a latent's texts, the strongest first.

    `(dict_size * (DECILES - 1),)`: what is below the last one is in the last decile.
    """
    columns = sparse.csc_array(codes)
    bounds = np.zeros((codes.shape[1], DECILES - 1), dtype=np.uint8)
    for latent in np.flatnonzero(np.diff(columns.indptr)):
        values = np.sort(columns.data[columns.indptr[latent] : columns.indptr[latent + 1]])[::-1]
        ends = np.ceil(np.arange(1, DECILES) * len(values) / DECILES).astype(int) - 1
        bounds[latent] = quantised(values[ends], np.full(DECILES - 1, largest[latent]))
    return bounds.ravel()


def near_misses(codes: sparse.csr_array, vectors: Floats, directions: Floats) -> NDArray[np.int32]:
    """Find, for each latent, the texts nearest to its direction on which it is silent; -1 where there is none.

    Args:
        codes: `(n, dict_size)`.
        vectors: `(n, act_size)`: the embeddings of the same texts.
        directions: `(dict_size, act_size)`.

    Returns:
        `(dict_size, N_NEAR)`: places of texts, the nearest first.
    """
    codes, vectors = codes[:MOST_NEAR], vectors[:MOST_NEAR]
    n, width = codes.shape
    if n == 0:
        return np.full((width, N_NEAR), -1, dtype=np.int32)
    centred = torch.from_numpy(np.asarray(vectors - vectors.mean(axis=0), dtype=np.float32))
    centred = torch.nn.functional.normalize(centred, dim=1).T.contiguous()
    columns = sparse.csc_array(codes)
    found = torch.full((width, N_NEAR), -1)
    k = min(N_NEAR, n)
    for start in range(0, width, BLOCK):
        block = torch.from_numpy(np.array(directions[start : start + BLOCK], dtype=np.float32)) @ centred
        chosen = slice(columns.indptr[start], columns.indptr[min(start + BLOCK, width)])
        latents = np.repeat(np.arange(len(block)), np.diff(columns.indptr[start : start + len(block) + 1]))
        block[torch.from_numpy(latents), torch.from_numpy(columns.indices[chosen].astype(np.int64))] = -torch.inf
        best = block.topk(k, dim=1)
        found[start : start + len(block), :k] = torch.where(best.values > 0, best.indices, -1)
    return np.asarray(found.numpy(), dtype=np.int32)

"""A map of features: where each lies in two dimensions, the same every time."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]

MOST = 4096
"""Features that t-SNE places; it takes seconds for these. More are put among those that they are nearest to."""
N_AMONG = 3


def layout(directions: Floats, weight: Floats) -> NDArray[np.float32]:
    """Place features so that those of like directions lie together: t-SNE that starts from the principal components.

    Args:
        directions: `(dict_size, act_size)`, decoder directions.
        weight: `(dict_size,)`: of more than `MOST` features, the weightiest make the map.

    Returns:
        `(dict_size, 2)`, from 0 to 1.
    """
    unit = directions / np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), 1e-12)
    first = np.sort(np.argsort(-weight, kind="stable")[:MOST])
    places = np.zeros((len(unit), 2))
    places[first] = _tsne(unit[first])
    rest = np.setdiff1d(np.arange(len(unit)), first)
    for block in np.array_split(rest, len(rest) // 1024 + 1):
        cosines = unit[block] @ unit[first].T
        near = np.argsort(-cosines, axis=1, kind="stable")[:, :N_AMONG]
        pull = np.maximum(np.take_along_axis(cosines, near, axis=1), 1e-6) ** 2
        places[block] = np.einsum("ij,ijk->ik", pull / pull.sum(axis=1, keepdims=True), places[first[near]])
    low, high = places.min(axis=0), places.max(axis=0)
    return np.asarray((places - low) / np.maximum(high - low, 1e-12), dtype=np.float32)


def _tsne(unit: Floats) -> Floats:
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    if len(unit) < 5 or min(unit.shape) < 2:
        return np.column_stack([np.arange(len(unit)), np.zeros(len(unit))]).astype(np.float64)
    with threadpool_limits(1):  # sums in one order, so that the map is the same on as many cores as there are
        start = PCA(2, random_state=0, svd_solver="full").fit_transform(unit)
        start = 1e-4 * start / max(float(start[:, 0].std()), 1e-12)
        tsne = TSNE(
            init=start.astype(np.float32),
            perplexity=min(15, (len(unit) - 1) / 3),
            max_iter=500,
            random_state=0,
            n_jobs=1,
        )
        return np.asarray(tsne.fit_transform(unit.astype(np.float32)))

"""Families of latents: a general one, and those that fire where it does."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import minimum_spanning_tree

from sae_kedro.interpretation.together import Pairs

LINK = 0.1
"""Smallest link that holds a family together."""
SMALLEST = 4
"""Latents of a family, at least."""


class Families(NamedTuple):
    """`(dict_size,)` each; -1 is none."""

    family: NDArray[np.int64]
    """The latent at the head of its family: the most general one, which has no parent."""
    parent: NDArray[np.int64]
    """The more frequent latent that each is linked to most."""


def find_families(pairs: Pairs) -> Families:
    """Divide latents into trees, the more frequent above the less frequent.

    The link of a pair is how much more often than by chance they fire together, as a share of the texts of the rarer
    one. Without the part that is chance, a latent that fires on a tenth of all texts would be everybody's parent. Of
    all links of at least `LINK` the maximum spanning forest is kept, and each latent goes below the more frequent one
    of its strongest link there.
    """
    counts = pairs.counts.astype(np.float64)
    link = (pairs.both - counts[pairs.a] * counts[pairs.b] / pairs.n_texts) / np.minimum(
        counts[pairs.a], counts[pairs.b]
    )
    strong = link >= LINK
    size = len(counts)
    tree = sparse.coo_array(
        minimum_spanning_tree(sparse.csr_array((-link[strong], (pairs.a[strong], pairs.b[strong])), shape=(size, size)))
    )
    a, b = tree.coords
    above = np.where(counts[a] >= counts[b], a, b)
    below = a + b - above
    order = np.lexsort((above, below, tree.data))
    parent = np.full(size, -1)
    child, first = np.unique(below[order], return_index=True)
    parent[child] = above[order][first]
    head = np.arange(size)
    while (parent[head] >= 0).any():
        head = np.where(parent[head] >= 0, parent[head], head)
    large = np.bincount(head, minlength=size) >= SMALLEST
    return Families(np.where(large[head], head, -1), np.where(large[head], parent, -1))

"""Latents that fire on the same texts more often than by chance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse, special

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.integer[Any]]

MIN_TOGETHER = 5
"""Texts on which both latents of a pair fire, at least: once together by chance is no association."""
BLOCK, CHUNK = 256, 65_536
UNLIKE = 0.2
"""Cosine, of decoder directions and of labels, below which it is unexpected that two latents fire together."""


class Pairs(NamedTuple):
    """Pairs of latents that fire together more often than by chance, `(n,)` each, the first the smaller number."""

    a: Ints
    b: Ints
    both: Ints
    """Texts on which both fire."""
    counts: Ints
    """`(dict_size,)`: texts on which each latent fires."""
    n_texts: int

    @property
    def lift(self) -> Floats:
        """How many times as often as by chance, `(n,)`."""
        return np.asarray(self.both * self.n_texts / (self.counts[self.a] * self.counts[self.b]))

    @property
    def npmi(self) -> Floats:
        """Normalised pointwise mutual information, `(n,)`: 0 by chance, 1 where neither fires without the other."""
        surprise = -np.log(self.both / self.n_texts)
        return np.asarray(np.divide(np.log(self.lift), surprise, out=np.ones(len(self.both)), where=surprise > 0))

    @property
    def q(self) -> Floats:
        """Share of false discoveries (Benjamini-Hochberg) among all pairs of latents that fire, `(n,)`.

        By chance, `both` or more texts would have both latents with the probability of a Poisson tail.
        """
        p = special.gammainc(self.both, self.both / self.lift)
        firing = int((self.counts > 0).sum())
        rest = firing * (firing - 1) // 2 - len(p)  # pairs not listed: together no more often than by chance
        order = np.argsort(p, kind="stable")
        ratio = p[order] * (len(p) + rest) / np.arange(1, len(p) + 1)
        q = np.empty(len(p))
        q[order] = np.minimum(np.minimum.accumulate(ratio[::-1])[::-1], 1)
        return q


def pairs_together(codes: sparse.csr_array) -> Pairs:
    """Count on which texts pairs of latents fire together; a block of latents at a time.

    Args:
        codes: `(n, dict_size)`; a latent fires where its code is above 0.
    """
    fires = _fires(codes)
    n, dict_size = fires.shape
    counts = np.bincount(fires.indices, minlength=dict_size)
    columns = sparse.csc_array(fires)
    found: list[tuple[Ints, Ints, Ints]] = []
    for start in range(0, dict_size, BLOCK):
        both = sparse.coo_array(columns[:, start : start + BLOCK].T @ fires)
        a, b = both.coords[0] + start, both.coords[1]
        kept = (a < b) & (both.data >= MIN_TOGETHER) & (both.data * n > counts[a].astype(np.float64) * counts[b])
        found.append((a[kept], b[kept], np.rint(both.data[kept]).astype(np.int64)))
    a, b, together = (np.concatenate(part) for part in zip(*found, strict=True))
    order = np.lexsort((b, a))
    return Pairs(a[order], b[order], together[order], counts, n)


def _fires(codes: sparse.csr_array) -> sparse.csr_array:
    fires = sparse.csr_array(((codes.data > 0).astype(np.float32), codes.indices, codes.indptr), shape=codes.shape)
    fires.eliminate_zeros()
    return fires


def together_table(
    pairs: Pairs, directions: Floats, meanings: Floats, names: list[str], most: int = 1000
) -> pd.DataFrame:
    """List unexpected company: pairs that fire together, though their directions and their labels are unlike.

    Args:
        pairs: From `pairs_together`.
        directions: `(dict_size, act_size)`, of norm 1.
        meanings: `(dict_size, any)`, of norm 1: where labels point. Latents without one, all 0, are left out, unless
            there is none at all.
        names: What to call each latent.
        most: Rows, the strongest association first.

    Returns:
        `latent_a, label_a, latent_b, label_b, both, n_a, n_b, lift, npmi, q, cosine, label_cosine`; only rows with `q`
        below .05.
    """
    import pandas as pd

    npmi, q = pairs.npmi, pairs.q
    cosine, label_cosine = _cosines(directions, pairs), _cosines(meanings, pairs)
    labelled = np.asarray(meanings.any(axis=1))
    told = (labelled[pairs.a] & labelled[pairs.b]) | ~labelled.any()
    rows = np.flatnonzero((cosine < UNLIKE) & (label_cosine < UNLIKE) & (q < 0.05) & told)
    rows = rows[np.argsort(-npmi[rows], kind="stable")][:most]
    a, b = pairs.a[rows], pairs.b[rows]
    return pd.DataFrame(
        {
            "latent_a": a, "label_a": [names[i] for i in a], "latent_b": b, "label_b": [names[i] for i in b],
            "both": pairs.both[rows], "n_a": pairs.counts[a], "n_b": pairs.counts[b],
            "lift": pairs.lift[rows], "npmi": npmi[rows], "q": q[rows],
            "cosine": cosine[rows], "label_cosine": label_cosine[rows],
        }
    )  # fmt: skip


def _cosines(unit: Floats, pairs: Pairs) -> Floats:
    chunks = [slice(start, start + CHUNK) for start in range(0, max(1, len(pairs.a)), CHUNK)]
    return np.concatenate([np.einsum("ij,ij->i", unit[pairs.a[chunk]], unit[pairs.b[chunk]]) for chunk in chunks])

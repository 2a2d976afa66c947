"""What the page needs to share a cosine out among latents, and how far off its 8 bits are."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from sae_kedro.errors import InputError
from sae_kedro.explorer.packing import packed_rows, quantised
from sae_kedro.interpretation.parts import decompose, share_out
from sae_kedro.sae.base import SAE
from sae_kedro.sae.scaling import STANDARDISE_EPS

Floats = NDArray[np.floating[Any]]
N_PAIRS = 100


class Scales(NamedTuple):
    """How a text of norm 1 is put together: `spread * (scale * codes @ W_dec + base) + shift + residual`."""

    linear: bool
    """Whether the SAE decodes like that."""
    scale: float
    base: Floats
    """`(act_size,)`."""
    spread: Floats
    """`(n,)`, as `shift`."""
    shift: Floats


def scales(sae: SAE, vectors: Floats) -> Scales:
    """Work them out for each text."""
    scale = float(sae.scale)
    base = scale * sae.b_dec.detach().double().cpu().numpy() + sae.mean.double().cpu().numpy()
    norms = np.maximum(np.linalg.norm(vectors, axis=1).astype(np.float64), 1e-12)
    spread, shift = np.ones(len(vectors)), np.zeros(len(vectors))
    if sae.input_unit_norm:
        shift = vectors.mean(axis=1, dtype=np.float64)
        spread = vectors.std(axis=1, ddof=1, dtype=np.float64) + STANDARDISE_EPS
    try:
        decompose(sae, vectors[:1])
    except InputError:
        return Scales(False, scale, base, spread / norms, shift / norms)
    return Scales(True, scale, base, spread / norms, shift / norms)


def error_of(
    sae: SAE, codes: sparse.csr_array, vectors: Floats, how: Scales, rows: NDArray[np.int64]
) -> dict[str, float]:
    """Measure on pairs of texts how far the page's numbers are from the exact ones, at most.

    Returns:
        `cosine`, and `share`: of a latent, of what is common, or of the residual.
    """
    if len(rows) < 2 or not how.linear:
        return {"cosine": 0.0, "share": 0.0}
    largest = np.asarray(codes.max(axis=0).toarray(), dtype=np.float64).ravel()
    decoder, steps = packed_rows(sae.W_dec.detach().float().cpu().numpy())
    choice = np.random.default_rng(0).choice(rows, (N_PAIRS, 2))
    cosine, share = 0.0, 0.0
    for pair in choice[choice[:, 0] != choice[:, 1]]:
        (u, v), sides = (decompose(sae, vectors[[row]]) for row in pair), []
        for row in pair:
            rounded, step = packed_rows(vectors[[row]] / np.linalg.norm(vectors[row]))
            weights = np.zeros(sae.dict_size)
            part = codes[[row]]
            q = quantised(part.data, largest[part.indices]) * largest[part.indices] / 255
            weights[part.indices] = how.spread[row] * how.scale * q
            sides.append((rounded[0] * float(step[0]), weights, how.spread[row] * how.base + how.shift[row]))
        (x, a, common_x), (y, b, common_y) = sides
        exact = share_out(sae, u, v)
        d = decoder[exact.latents] * steps[exact.latents, None].astype(np.float64)
        found = (a[exact.latents] * (d @ y) + b[exact.latents] * (d @ x)) / 2
        common = float(common_x @ y + common_y @ x) / 2
        residual = float(x @ y) - found.sum() - common
        cosine = max(cosine, abs(float(x @ y - u.total @ v.total)))
        differences = [*(found - exact.values), common - exact.common, residual - exact.residual]
        share = max(share, float(np.abs(differences).max()))
    return {"cosine": cosine, "share": share}

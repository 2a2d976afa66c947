"""Embeddings as sums over latents, and a product of two such sums shared out among its parts, exactly.

A vector of unit norm is `x = sum_i a_i d_i + common + residual`: the decoder directions `d_i` by how much of each the
SAE finds, what it adds to every text, and what it misses. All of it is linear, so the mean of texts and the difference
of two are sums of the same form, and one product serves them all.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from sae_kedro.errors import InputError
from sae_kedro.sae.base import SAE
from sae_kedro.sae.contract import Array
from sae_kedro.sae.scaling import STANDARDISE_EPS

Vector = NDArray[np.float64]
BLOCK = 8192
CHECKED = 32
"""Rows of a block whose reconstruction is compared with the SAE's own."""
TOLERANCE = 1e-3
"""How far the two may be apart, for vectors of norm 1 (float32 against float64: 1e-6)."""
MOST_PAIRED = 512
"""Strongest latents of either side among which pairs are looked for."""


class Sum(NamedTuple):
    """A vector and what it is made of: `total = weights @ W_dec + common + residual`, in float64."""

    total: Vector
    """`(act_size,)`."""
    weights: Vector
    """`(dict_size,)`, zero for latents that are silent."""
    common: Vector
    """`(act_size,)`: the mean and `b_dec`, which the SAE adds whatever the codes are."""
    residual: Vector
    """`(act_size,)`: what the SAE does not explain."""

    def __sub__(self, other: Sum) -> Sum:
        """Subtract part from part."""
        return Sum(*(mine - its for mine, its in zip(self, other, strict=True)))


class Shares(NamedTuple):
    """A product of two sums, shared out among their parts; `values.sum() + common + residual` is the product."""

    latents: NDArray[np.int64]
    """`(k,)`: those active on either side."""
    values: Vector
    """`(k,)`: half of a latent's part of the one times all of the other, and half the other way round."""
    common: float
    residual: float
    kinds: dict[str, float]
    """The product once more, by what meets what: `same` and `different` latents, `common` and anything but a
    residual, `residual` and anything."""


def decompose(sae: SAE, x: Array) -> Sum:
    """Write the mean of embeddings, each scaled to norm 1, as a sum over latents.

    With `input_unit_norm`, each text's own mean and deviation come back: its deviation scales its codes and what is
    common, and its mean joins what is common.

    Args:
        sae: A trained SAE of any variant that decodes linearly.
        x: `(n, act_size)`; one row for a text, more for a group.

    Raises:
        InputError: The vectors have another width, are none, not finite or all zeros, or the SAE decodes otherwise.
    """
    if len(x.shape) != 2 or x.shape[1] != sae.act_size:
        raise InputError(f"the SAE takes embeddings (n, {sae.act_size}), and these have the shape {tuple(x.shape)}")
    if not len(x):
        raise InputError("there is nothing to explain: a group needs at least one text or embedding")
    scale = float(sae.eval().scale)
    base = scale * _double(sae.b_dec) + _double(sae.mean)
    total, common, weights = np.zeros(sae.act_size), np.zeros(sae.act_size), np.zeros(sae.dict_size)
    for start in range(0, len(x), BLOCK):
        rows = torch.as_tensor(x[start : start + BLOCK]).detach().float().cpu()
        exact = _double(rows)
        norms = np.linalg.norm(exact, axis=1)
        if not np.isfinite(norms).all() or not norms.all():
            raise InputError("an embedding that is all zeros or not finite has no direction to explain")
        codes, stats = sae.transform(rows), sae.normalise(rows)[1]
        shift, spread = np.zeros(len(rows)), np.ones(len(rows))
        if stats is not None:
            shift, spread = _double(stats.mean)[:, 0], _double(stats.std)[:, 0] + STANDARDISE_EPS
        total += (exact / norms[:, None]).sum(axis=0)
        weights += scale * (codes.T @ (spread / norms))
        common += (spread / norms).sum() * base + (shift / norms).sum()
        some = slice(0, CHECKED)
        fired = np.unique(codes[some].indices)
        explained = codes[some][:, fired] @ directions(sae, fired)
        x_hat = spread[some, None] * (scale * explained + base) + shift[some, None]
        _check_linear(sae, rows[some], x_hat, norms[some])
    total, weights, common = total / len(x), weights / len(x), common / len(x)
    active = np.flatnonzero(weights)
    return Sum(total, weights, common, total - weights[active] @ directions(sae, active) - common)


def share_out(sae: SAE, u: Sum, v: Sum) -> Shares:
    """Share the product of two sums out among latents, what is common and the residual.

    Each gets half of every product that it takes part in, and all of the one with itself: its Shapley value in the game
    of taking parts out of both sums.
    """
    latents = np.flatnonzero((u.weights != 0) | (v.weights != 0))
    rows, a, c = directions(sae, latents), u.weights[latents], v.weights[latents]
    ours, its = a @ rows, c @ rows
    same = float((a * c) @ (rows * rows).sum(axis=1))
    kinds = {
        "same": same,
        "different": float(ours @ its) - same,
        "common": float(u.common @ (its + v.common) + ours @ v.common),
        "residual": float(u.residual @ v.total + (u.total - u.residual) @ v.residual),
    }
    return Shares(
        latents,
        (a * (rows @ v.total) + c * (rows @ u.total)) / 2,
        float(u.common @ v.total + v.common @ u.total) / 2,
        float(u.residual @ v.total + v.residual @ u.total) / 2,
        kinds,
    )


def strongest_pairs(sae: SAE, u: Sum, v: Sum, n: int) -> list[tuple[int, int, float]]:
    """List the `n` largest products of a latent of `u` and another of `v`: both latents and `a_i c_j d_i . d_j`."""
    ours, its = (np.sort(np.argsort(-abs(s.weights), kind="stable")[:MOST_PAIRED]) for s in (u, v))
    ours, its = ours[u.weights[ours] != 0], its[v.weights[its] != 0]
    products = (u.weights[ours, None] * directions(sae, ours)) @ (v.weights[its, None] * directions(sae, its)).T
    products[ours[:, None] == its] = 0  # a latent and itself are no pair
    best = np.argsort(-abs(products), axis=None, kind="stable")[:n]
    found = zip(*np.unravel_index(best, products.shape), strict=True)
    return [(int(ours[i]), int(its[j]), float(products[i, j])) for i, j in found if products[i, j]]


def directions(sae: SAE, latents: NDArray[np.int64]) -> Vector:
    """Return the decoder directions of some latents, `(len(latents), act_size)`, in float64."""
    return _double(sae.W_dec[torch.as_tensor(latents, device=sae.W_dec.device)])


def _check_linear(sae: SAE, rows: torch.Tensor, x_hat: Vector, norms: Vector) -> None:
    with torch.no_grad():
        own = _double(sae.decode(sae.encode(rows), like=rows))
    if not (abs(own - x_hat).max(axis=1) <= TOLERANCE * norms).all():
        raise InputError(
            f"{type(sae).__name__} does not decode by `codes @ W_dec + b_dec`, so what it reconstructs is no sum over "
            "latents and cannot be shared out among them"
        )


def _double(values: torch.Tensor) -> Vector:
    return np.asarray(values.detach().cpu().numpy(), dtype=np.float64)

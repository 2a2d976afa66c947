"""The same texts three times: as embeddings, as reconstructions and as codes. Codes stay sparse."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from sae_kedro.sae.base import SAE

Matrix = Any
"""`(n, width)`: a NumPy array or a SciPy CSR array."""
CHUNK = 1024


class Representations(NamedTuple):
    """`n` texts as an SAE sees them."""

    original: NDArray[np.float32]
    """`(n, act_size)`: the embeddings."""
    reconstruction: NDArray[np.float32]
    """`(n, act_size)`, in the space of the embeddings."""
    codes: sparse.csr_array
    """`(n, dict_size)`, float32."""

    def take(self, rows: NDArray[Any]) -> Representations:
        """Pick texts by index or by mask."""
        return Representations(self.original[rows], self.reconstruction[rows], self.codes[rows])


SPACES = Representations._fields
"""Names of the three, in metrics and tables."""


@torch.no_grad()
def represent(sae: SAE, x: Tensor) -> Representations:
    """Encode and reconstruct at least one embedding, `x (n, act_size)`, `CHUNK` at a time."""
    sae.eval()
    codes, x_hat = [], []
    for chunk in x.split(CHUNK):
        scaled, stats = sae.normalise(chunk.to(sae.W_dec))
        encoded = sae.encode_scaled(scaled).codes
        codes.append(encoded.to_csr())
        x_hat.append(sae.denormalise(sae.decode_scaled(encoded), stats).float().cpu().numpy())
    return Representations(x.float().cpu().numpy(), np.concatenate(x_hat), sparse.vstack(codes, format="csr"))


def unit_rows(x: Matrix) -> Matrix:
    """Scale rows to norm 1; a row of zeros stays one."""
    if not sparse.issparse(x):
        x = np.asarray(x, dtype=np.float32)
        return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    x = sparse.csr_array(x)
    norms = np.sqrt(x.multiply(x).sum(axis=1))
    data = x.data / np.repeat(np.maximum(norms, 1e-12), np.diff(x.indptr))
    return sparse.csr_array((data, x.indices, x.indptr), shape=x.shape)


def cosines(a: Matrix, b: Matrix) -> NDArray[np.float64]:
    """Return the cosine of each row of `a` with the same row of `b`: `(n,)`; 0 where either is all zeros."""
    a, b = unit_rows(a), unit_rows(b)
    product = a.multiply(b).sum(axis=1) if sparse.issparse(a) else np.einsum("ij,ij->i", a, b)
    return np.asarray(product, dtype=np.float64)


def dot_products(a: Matrix, b: Matrix) -> NDArray[np.float32]:
    """Return `a @ b.T` as an array: `(len(a), len(b))`."""
    product = a @ b.T
    return np.asarray(product.toarray() if sparse.issparse(product) else product)

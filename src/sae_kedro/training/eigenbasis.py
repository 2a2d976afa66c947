"""The basis that training happens in: the directions along which embeddings vary independently."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Eigenbasis(NamedTuple):
    """Eigenvectors of the covariance of scaled embeddings.

    Adam gives every coordinate a rate of its own. In the embeddings' own coordinates each is a mixture of strong and
    weak directions, and its rate fits neither; along eigenvectors it does (SOAP, arXiv 2409.11321, does the same for
    gradients; benchmarks/RECIPE.md: held-out FVU .178 without, .175 with it).
    """

    vectors: Tensor
    """`(act_size, act_size)`, orthonormal columns."""
    variances: Tensor
    """`(act_size,)`, of scaled embeddings along them; 1 on average."""

    @classmethod
    def of(cls, x: Tensor) -> Eigenbasis:
        """Find it from a sample of scaled rows `(n, act_size)`."""
        covariance = torch.zeros(x.shape[1], x.shape[1], dtype=torch.float64)
        for rows in x.split(2048):
            rows = rows.double().cpu()
            covariance += rows.t() @ rows / len(x)
        variances, vectors = torch.linalg.eigh(covariance)
        return cls(vectors.contiguous().to(x), variances.clamp_min(0.0).to(x))  # as a checkpoint gives it back

    @classmethod
    def trivial(cls, act_size: int) -> Eigenbasis:
        """Return the embeddings' own coordinates, taken for independent and equal."""
        return cls(torch.eye(act_size), torch.ones(act_size))

"""What training makes of the covariance of the embeddings: the coordinates it happens in, and matched filters."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

ROWS_PER_COORDINATE = 256
"""Training texts per coordinate from which on the eigenbasis pays (measured: not at 156, by 2 % at 359)."""


class Coordinates(NamedTuple):
    """The coordinates of training, and the filter that goes with them.

    Adam gives every coordinate a rate of its own. In the embeddings' coordinates each is a mixture of strong and weak
    directions, and its rate is one for the strong ones. Along eigenvectors of the covariance weak directions are
    learnt as fast, which pays as soon as there are texts enough to learn them from (SOAP, arXiv 2409.11321, does the
    same with the gradient's covariance; benchmarks/RECIPE.md has what it gains and loses).
    """

    rotation: Tensor
    """`(act_size, act_size)`, orthogonal: `x @ rotation` is what training sees of scaled rows `x`."""
    matched: Tensor
    """`(act_size, act_size)`: `d @ matched` is the linear detector of a direction `d` among embeddings of covariance
    `S`, the matched filter `(S + I)^-1 d`; 1 is their mean variance."""

    @classmethod
    def of(cls, x: Tensor, n_train: int) -> Coordinates:
        """Find them from a sample of scaled rows `(n, act_size)`, one of `n_train`."""
        covariance = torch.zeros(x.shape[1], x.shape[1], dtype=torch.float64)
        for rows in x.split(2048):
            rows = rows.double().cpu()
            covariance += rows.t() @ rows / len(x)
        rotation = torch.eye(x.shape[1], dtype=torch.float64)
        if n_train >= ROWS_PER_COORDINATE * x.shape[1]:
            variances, rotation = torch.linalg.eigh(covariance)
            covariance = variances.diag()
        matched = torch.linalg.inv(covariance + torch.eye(x.shape[1], dtype=torch.float64))
        return cls(rotation.contiguous().to(x), matched.contiguous().to(x))  # laid out as a checkpoint returns them

    @classmethod
    def plain(cls, like: Tensor) -> Coordinates:
        """Return the embeddings' own coordinates, taken for independent and equal."""
        eye = torch.eye(like.shape[1]).to(like)
        return cls(eye, eye)

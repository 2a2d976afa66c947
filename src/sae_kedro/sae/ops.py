"""The two products of an SAE with exact gradients that cost in proportion to the non-zero codes.

Dense autograd multiplies by zeros: 10 to 12 batch*act_size*dict_size operations per step. Here only the forward
product of the encoder is dense; all others touch the support alone (Gao et al., arXiv 2406.04093, appendix D).
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from sae_kedro.sae.codes import Codes, Support

with warnings.catch_warnings():  # the note that sparse CSR is in beta comes once a process: let it come here
    warnings.simplefilter("ignore", UserWarning)
    torch.zeros(1, 1).to_sparse_csr()

SMALLEST_PRODUCT = 32
"""Rows from which on matrix products agree bit for bit (measured on CPU for four shapes: 16 suffice)."""


def with_encoder_gradient(
    x: Tensor, sae_weights: tuple[Tensor, Tensor, Tensor], values: Tensor, support: Support
) -> Tensor:
    """Make pre-activations at a support differentiable with respect to the encoder and the input.

    Args:
        x: `(n, act_size)`, the input after scaling.
        sae_weights: `W_enc (act_size, dict_size)`, `b_enc (dict_size,)`, `b_dec (act_size,)`.
        values: `(nnz,)`, or `(n, dict_size)` for a dense support: entries of `(x - b_dec) @ W_enc + b_enc`, computed
            without a graph.
        support: Where they are.

    Returns:
        `values`, with a graph.
    """
    differentiable: Tensor = _PreActs.apply(x, *sae_weights, values, support)
    return differentiable


def steady_product(x: Tensor, weight: Tensor) -> Tensor:
    """Multiply `x (n, a)` by `weight (a, b)` so that a row's result does not depend on how many rows there are.

    Products of a few rows sum in another order than larger ones; padding them to `SMALLEST_PRODUCT` rows mends that.
    """
    return (F.pad(x, (0, 0, 0, max(0, SMALLEST_PRODUCT - len(x)))) @ weight)[: len(x)]


def decode(codes: Codes, W_dec: Tensor) -> Tensor:
    """Multiply codes by the dictionary `W_dec (dict_size, act_size)`: `(n, act_size)`."""
    if codes.support.is_dense:
        return codes.values @ W_dec
    product: Tensor = _Decode.apply(codes.values, W_dec, codes.support)
    return product


class _PreActs(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, W_enc: Tensor, b_enc: Tensor, b_dec: Tensor, values: Tensor, support: Support
    ) -> Tensor:
        del b_enc
        ctx.save_for_backward(x, W_enc, b_dec)
        ctx.support = support
        return values.view_as(values)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, W_enc, b_dec = ctx.saved_tensors
        support: Support = ctx.support
        centred = x - b_dec
        if support.is_dense:
            sums = grad.sum(dim=0)
            grad_W = (grad.t() @ centred).t()
            grad_x = grad @ W_enc.t() if ctx.needs_input_grad[0] else None
        else:
            columns = support.transposed
            ordered = grad[columns.order]
            grad_W = _weighted_sums(centred, columns.rows, columns.offsets, ordered).t()
            sums = torch.zeros_like(W_enc[0]).index_add_(0, support.indices, grad)
            grad_x = (
                _weighted_sums(W_enc.t(), support.indices, support.offsets, grad) if ctx.needs_input_grad[0] else None
            )
        return grad_x, grad_W, sums, -(W_enc @ sums), None, None


class _Decode(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, W_dec: Tensor, support: Support) -> Tensor:
        ctx.save_for_backward(values, W_dec)
        ctx.support = support
        return _weighted_sums(W_dec, support.indices, support.offsets, values)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        values, W_dec = ctx.saved_tensors
        support: Support = ctx.support
        columns = support.transposed
        grad_W = _weighted_sums(grad, columns.rows, columns.offsets, values[columns.order])
        return gathered_dots(support, grad, W_dec), grad_W, None


def _weighted_sums(table: Tensor, indices: Tensor, offsets: Tensor, weights: Tensor) -> Tensor:
    """Sum `weights[e] * table[indices[e]]` over the entries of each bag: `(len(offsets) - 1, table.shape[1])`."""
    return F.embedding_bag(
        indices, table, offsets, mode="sum", per_sample_weights=weights.contiguous(), include_last_offset=True
    )


def gathered_dots(support: Support, left: Tensor, right: Tensor) -> Tensor:
    """Compute `left[row] . right[col]` at every entry of the support: `(nnz,)`."""
    pattern = torch.sparse_csr_tensor(
        support.offsets,
        support.indices,
        left.new_zeros(len(support.rows)),
        support.shape,
        check_invariants=False,
    )
    dots: Tensor = torch.sparse.sampled_addmm(pattern, left.contiguous(), right.t(), beta=0.0).values()
    return dots

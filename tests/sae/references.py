"""The variants' equations written densely and plainly in float64, to check gradients against."""

from __future__ import annotations

import torch
from torch import Tensor


def parameters(sae) -> dict[str, Tensor]:
    """Copies of the parameters, as float64 leaves."""
    return {name: p.detach().double().clone().requires_grad_() for name, p in sae.named_parameters()}


def pre_acts(x: Tensor, p: dict[str, Tensor]) -> Tensor:
    return (x - p["b_dec"]) @ p["W_enc"] + p["b_enc"]


def fvu(x: Tensor, z: Tensor, p: dict[str, Tensor]) -> Tensor:
    return ((z @ p["W_dec"] + p["b_dec"] - x) ** 2).sum() / (x.shape[0] * x.shape[1])


def topk(sae, x, p):
    pi = pre_acts(x, p)
    kept = torch.zeros_like(pi).scatter(1, pi.topk(sae.top_k, dim=1).indices, 1.0)
    return fvu(x, pi.relu() * kept, p)


def batchtopk(sae, x, p):
    pi = pre_acts(x, p)
    flat = pi.relu().flatten()
    kept = torch.zeros_like(flat).scatter(0, flat.topk(sae.top_k * len(x)).indices, 1.0).view_as(pi)
    return fvu(x, pi.relu() * kept, p)


def vanilla(sae, x, p):
    z = pre_acts(x, p).relu()
    return fvu(x, z, p) + float(sae.l1) / x.shape[1] ** 0.5 * z.sum() / len(x)


def jumprelu(sae, x, p):
    """The surrogate whose autograd gradient is the published estimator: ramps of width eps, with pi detached."""
    pi, theta, eps = pre_acts(x, p), p["threshold"], sae.options.bandwidth
    ramp = ((pi.detach() - theta) / eps + 0.5).clamp(0, 1)
    hard = (pi > theta).to(pi.dtype)
    step = hard + ramp - ramp.detach()
    z = hard.detach() * (pi - theta.detach()) + theta.detach() * step
    return fvu(x, z, p) + sae.L0_WEIGHT * (step.sum() / len(x) / sae.top_k - 1) ** 2

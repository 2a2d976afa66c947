"""JumpReLU: a learned threshold per latent."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from sae_kedro.sae.base import SAE
from sae_kedro.sae.codes import Support
from sae_kedro.sae.contract import Forward, Progress, SAEOptions
from sae_kedro.sae.levels import exact_level
from sae_kedro.sae.screening import Int8Product


class JumpReLUOptions(SAEOptions):
    """Options of `JumpReLUSAE`."""

    bandwidth: float = Field(0.3, gt=0, description="kernel width of the threshold's gradient, in deviations of pi")


class JumpReLUSAE(SAE):
    """Zeroes pre-activations below a threshold per latent (Rajamanoharan et al., arXiv 2407.14435).

    Thresholds learn from the paper's pseudo-derivatives how they differ; a controller moves all of them together so
    that the batch's L0 stays near `top_k`, which learning alone does too slowly. The sparsity loss is
    `L0_WEIGHT * (L0 / top_k - 1)^2`, which changes sign at the target. A last calibration shifts all thresholds by one
    number so that L0 is met exactly.
    """

    summary = "a learned threshold per latent, top_k latents per text on average"
    formula = "z = pi * 1[pi > theta], theta >= 0 per latent; pi = (x - b_dec) W_enc + b_enc"
    paper = "2407.14435"
    Options = JumpReLUOptions
    options: JumpReLUOptions

    L0_WEIGHT = 5.0
    GAIN = 0.15
    """Shift of all thresholds in one step where L0 is e times too large, or larger; a third of it lets L0 fall so low
    in the first steps of a run of 100 that two latents in five die (measured)."""

    def __init__(self, cfg: dict[str, Any]) -> None:
        super().__init__(cfg)
        self.threshold = nn.Parameter(torch.zeros(self.dict_size))

    def select(self, pre_acts: Tensor) -> Support:
        """Choose active entries, and in training those close enough to the threshold to teach it."""
        slack = self.options.bandwidth / 2 if self.training else 0.0
        return Support.from_mask(pre_acts > self.threshold - slack)

    def screen(self, product: Int8Product) -> tuple[Support, Tensor] | None:
        """Choose the same entries; the few others that come along have codes of 0 and no gradient."""
        return product.above(self.threshold - self.options.bandwidth / 2)

    def activate(self, values: Tensor, cols: Tensor | slice) -> Tensor:
        """Apply `pi * 1[pi > theta]`."""
        return jump(values, self.threshold[cols], self.options.bandwidth)

    def losses(self, out: Forward) -> dict[str, Tensor]:
        """Return the squared relative distance of the batch's L0 from `top_k`."""
        assert out.pre_values is not None
        active = step(out.pre_values, self.threshold[out.codes.support.cols], self.options.bandwidth)
        return {"l0": self.L0_WEIGHT * (active.sum() / len(out.x) / self.top_k - 1).square()}

    def prepare(self, x: Tensor) -> None:
        """Start all latents at the one threshold that gives `top_k` active latents per text on average.

        A threshold per latent that gives each the same density silences a tenth of them later (measured).
        """
        with torch.no_grad():
            positive = (pre_acts[pre_acts > 0] for pre_acts in self.pre_acts_by_chunk(x))
            self.threshold.fill_(max(0.0, exact_level(positive, self.top_k * len(x))))

    def after_step(self, progress: Progress) -> None:
        """Steer L0 towards `top_k`, and keep thresholds at or above 0."""
        with torch.no_grad():
            error = (progress.l0.clamp_min(1e-3) / self.top_k).log().clamp(-1.0, 1.0)
            self.threshold.add_(self.GAIN * error).clamp_(min=0.0)

    def calibrate(self, x: Tensor) -> None:
        """Shift all thresholds by the number that gives the sample `top_k` active latents per text on average."""
        with torch.no_grad():
            margins = ((pre_acts - self.threshold)[pre_acts > 0] for pre_acts in self.pre_acts_by_chunk(x))
            self.threshold.add_(exact_level(margins, self.top_k * len(x))).clamp_(min=0.0)

    def lr_multipliers(self) -> dict[str, float]:
        """Train thresholds at a tenth of the common rate, outside the gradient clip."""
        return {"threshold": 0.1}


def jump(pre_acts: Tensor, threshold: Tensor, bandwidth: float) -> Tensor:
    """Compute `pi * 1[pi > theta]`; d/dtheta is the pseudo-derivative `-(theta / eps) K((pi - theta) / eps)`."""
    return _Jump.apply(pre_acts, threshold, bandwidth)  # type: ignore[no-any-return]


def step(pre_acts: Tensor, threshold: Tensor, bandwidth: float) -> Tensor:
    """Compute `1[pi > theta]`; d/dtheta is the pseudo-derivative `-(1 / eps) K((pi - theta) / eps)`."""
    return _Step.apply(pre_acts, threshold, bandwidth)  # type: ignore[no-any-return]


def _kernel(pre_acts: Tensor, threshold: Tensor, bandwidth: float) -> Tensor:
    """K / eps: the rectangle of width eps around the threshold, on both of its sides."""
    return ((pre_acts - threshold).abs() < bandwidth / 2).to(pre_acts.dtype) / bandwidth


def _reduced(grad: Tensor, shape: torch.Size) -> Tensor:
    return grad if grad.shape == shape else grad.sum(dim=0)


class _Jump(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, pre_acts: Tensor, threshold: Tensor, bandwidth: float) -> Tensor:
        ctx.save_for_backward(pre_acts, threshold)
        ctx.bandwidth = bandwidth
        return pre_acts * (pre_acts > threshold)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        pre_acts, threshold = ctx.saved_tensors
        to_threshold = -threshold * _kernel(pre_acts, threshold, ctx.bandwidth) * grad
        return grad * (pre_acts > threshold), _reduced(to_threshold, threshold.shape), None


class _Step(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, pre_acts: Tensor, threshold: Tensor, bandwidth: float) -> Tensor:
        ctx.save_for_backward(pre_acts, threshold)
        ctx.bandwidth = bandwidth
        return (pre_acts > threshold).to(pre_acts.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        pre_acts, threshold = ctx.saved_tensors
        to_threshold = -_kernel(pre_acts, threshold, ctx.bandwidth) * grad
        return None, _reduced(to_threshold, threshold.shape), None

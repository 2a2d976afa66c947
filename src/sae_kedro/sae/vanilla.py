"""Vanilla: ReLU with an L1 penalty whose weight is found while training."""

from __future__ import annotations

import logging
import math
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from sae_kedro.sae.base import SAE
from sae_kedro.sae.codes import Support
from sae_kedro.sae.contract import Forward, Progress, SAEOptions
from sae_kedro.sae.levels import exact_level
from sae_kedro.sae.screening import Int8Product


class VanillaOptions(SAEOptions):
    """Options of `VanillaSAE`."""

    l1_coeff: float | None = Field(
        None,
        ge=0,
        description="weight of the L1 penalty; null: steered so that top_k latents are active on average",
    )


class VanillaSAE(SAE):
    """Penalises the sum of codes (Bricken et al. 2023, Towards Monosemanticity; Cunningham et al., arXiv 2309.08600).

    The penalty is `l1 / sqrt(act_size) * sum_i |z_i|` per text; with unit-norm decoder rows it is scale-free. Without
    `l1_coeff`, a controller moves ln(l1) in proportion to ln(L0 / top_k) after every step. Once trained, codes are
    lengthened by what the penalty took from them on average.
    """

    summary = "ReLU and an L1 penalty, top_k latents per text on average unless l1_coeff is set"
    formula = "z = ReLU(pi); loss + l1 / sqrt(act_size) * sum |z|; pi = (x - b_dec) W_enc + b_enc"
    paper = "2309.08600"
    Options = VanillaOptions
    options: VanillaOptions

    START_L1 = 0.05
    GAIN = 0.02
    """Largest change of ln(l1) in one step."""
    SMOOTHING = 0.9
    """Decay of the running mean of L0."""
    RAISE = 0.015
    """What a dead latent's bias gains per step, as much as an Adam step moves it by default."""

    l1: Tensor
    l0_mean: Tensor

    def __init__(self, cfg: dict[str, Any]) -> None:
        super().__init__(cfg)
        given = self.options.l1_coeff
        self.register_buffer("l1", torch.tensor(self.START_L1 if given is None else given))
        self.register_buffer("l0_mean", torch.tensor(float(self.top_k)))

    def select(self, pre_acts: Tensor) -> Support:
        """Choose positive entries."""
        return Support.from_mask(pre_acts > 0)

    def screen(self, product: Int8Product) -> tuple[Support, Tensor] | None:
        """Choose positive entries; the few others that come along have codes of 0."""
        return product.above(self.l1.new_zeros(()))

    def losses(self, out: Forward) -> dict[str, Tensor]:
        """Return the L1 penalty."""
        return {"l1": self.l1 / math.sqrt(self.act_size) * out.codes.values.sum() / len(out.x)}

    def prepare(self, x: Tensor) -> None:
        """Start every latent at density `top_k / dict_size`."""
        if self.options.l1_coeff is not None:
            logging.getLogger(__name__).warning(
                "l1_coeff=%g is set, so L0 follows from it and not from top_k=%d", self.options.l1_coeff, self.top_k
            )
        with torch.no_grad():
            self.b_enc.sub_(self.sparse_start_levels(x))

    def after_step(self, progress: Progress) -> None:
        """Raise dead latents until they fire: where ReLU is 0 no loss has a gradient, and AuxK cannot revive them.

        Unless its weight is given, also steer the penalty towards `top_k`.
        """
        with torch.no_grad():
            self.b_enc[progress.dead] += self.RAISE
        if self.options.l1_coeff is None:
            self.l0_mean.lerp_(progress.l0.to(self.l0_mean), 1 - self.SMOOTHING)
            error = (self.l0_mean.clamp_min(1e-3) / self.top_k).log().clamp(-1.0, 1.0)
            self.l1.mul_((self.GAIN * error).exp()).clamp_(1e-6, 1e2)

    def lr_multipliers(self) -> dict[str, float]:
        """Let the encoder learn 2.5 times as fast: it has to make up for what the penalty takes from every code."""
        return {"W_enc": 2.5}

    @torch.no_grad()
    def calibrate(self, x: Tensor) -> None:
        """Shift all biases so that the sample has `top_k` active latents per text, unless `l1_coeff` is set.

        The controller needs some hundred steps to land; a run may be over by then. And the penalty has shortened all
        codes (feature suppression, Wright and Sharkey 2024): they are lengthened by the one factor that reconstructs
        the sample best. A ReLU hands a factor of encoder and bias on to the codes, so the same latents fire.
        """
        if self.options.l1_coeff is None and self.top_k < self.dict_size:
            level = exact_level((pre_acts.flatten() for pre_acts in self.pre_acts_by_chunk(x)), self.top_k * len(x))
            self.b_enc.sub_(level)
        along = squares = 0.0
        for chunk in x.split(1024):
            change = self.run(chunk).x_hat - self.b_dec
            along += float((change * (chunk - self.b_dec)).sum())
            squares += float(change.square().sum())
        if along > 0:
            self.W_enc.mul_(along / squares)
            self.b_enc.mul_(along / squares)

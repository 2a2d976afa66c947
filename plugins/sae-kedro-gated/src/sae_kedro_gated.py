"""Gated SAE: one path decides which latents fire, another how strongly."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sae_kedro.sae import Codes, Forward, VanillaSAE
from sae_kedro.sae.ops import decode


class GatedSAE(VanillaSAE):
    """Separates detecting a feature from measuring it (Rajamanoharan et al., arXiv 2404.16014).

    Both paths share `W_enc`. `b_enc` is the gate's bias; the magnitude path rescales the same product by `exp(r_mag)`
    and has the bias `b_mag`. The L1 penalty falls on the gate alone, so magnitudes do not shrink.
    """

    summary = "separate gate and magnitude paths, L1 on the gate only"
    formula = "z = 1[pi_gate > 0] ReLU(exp(r_mag) (pi_gate - b_enc) + b_mag); pi_gate = (x - b_dec) W_enc + b_enc"
    paper = "2404.16014"

    def __init__(self, cfg: dict[str, Any]) -> None:
        super().__init__(cfg)
        self.r_mag = nn.Parameter(torch.zeros(self.dict_size))
        self.b_mag = nn.Parameter(torch.zeros(self.dict_size))

    def activate(self, values: Tensor, cols: Tensor | slice) -> Tensor:
        """Measure the latents that the gate lets through."""
        return (self.r_mag[cols].exp() * (values - self.b_enc[cols]) + self.b_mag[cols]).relu() * (values > 0)

    def losses(self, out: Forward) -> dict[str, Tensor]:
        """Return the L1 penalty of the gate, and how badly the gate alone reconstructs through a frozen decoder."""
        assert out.pre_values is not None
        gate = Codes(out.codes.support, out.pre_values.relu())
        x_hat = decode(gate, self.W_dec.detach()) + self.b_dec.detach()
        penalty = super().losses(out._replace(codes=gate))
        return penalty | {"gate": (x_hat - out.x).square().sum() / out.x.numel()}

    def prepare(self, x: Tensor) -> None:
        """Start both paths at density `top_k / dict_size`."""
        super().prepare(x)
        with torch.no_grad():
            self.b_mag.copy_(self.b_enc)

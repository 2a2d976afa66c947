"""Matching pursuit: codes found one latent at a time, each on what the ones before left over."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from sae_kedro.sae import SAE, Codes, Encoding, Support
from sae_kedro.sae.ops import steady_product


class MatchingPursuitSAE(SAE):
    """Unrolls matching pursuit over the decoder's own directions (arXiv 2506.03093).

    Starting from `r = x - b_dec`, each of `top_k` rounds takes the direction `d` that fits `r` best and was not taken
    before, sets its code to `ReLU(<r, d>)` and subtracts that much of `d`. There is no encoder matrix.
    """

    summary = "top_k rounds of matching pursuit on the decoder directions, no encoder matrix"
    formula = "r_0 = x - b_dec; k times: i = argmax <r, d_i>, z_i = ReLU(<r, d_i>), r = r - z_i d_i"
    paper = "2506.03093"
    linear_encoder = False

    def encode_scaled(self, x: Tensor) -> Encoding:
        """Find the codes of scaled rows `(n, act_size)`; gradients run through all rounds."""
        centred = x - self.b_dec
        chosen = self._chosen(centred)
        residual, codes = centred, []
        for direction in F.embedding(chosen, self.W_dec).unbind(dim=1):
            code = (residual * direction).sum(dim=1).relu()
            residual = residual - code[:, None] * direction
            codes.append(code)
        support = Support.from_indices(chosen, self.dict_size)
        return Encoding(Codes(support, torch.stack(codes, dim=1).flatten()), None)

    @torch.no_grad()
    def _chosen(self, residual: Tensor) -> Tensor:
        """Run the pursuit without a graph and return the latent of each round, `(n, top_k)`."""
        rows = torch.arange(len(residual), device=residual.device)
        scores, chosen = steady_product(residual, self.W_dec.t()), []
        # In training, scores are updated by inner products of directions: 1.4 times faster than a product per round
        # (batch 512, dict_size 3072, top_k 32). At inference each round multiplies anew, in the same order for any n.
        inner = self.W_dec @ self.W_dec.t() if self.training else None
        taken = torch.zeros_like(scores, dtype=torch.bool)
        for _ in range(self.top_k):
            best = scores.masked_fill(taken, -torch.inf).argmax(dim=1)
            taken[rows, best] = True
            chosen.append(best)
            if inner is not None:
                scores = scores - scores[rows, best].relu()[:, None] * inner[best]
            else:
                direction = self.W_dec[best]
                residual = residual - (residual * direction).sum(dim=1).relu()[:, None] * direction
                scores = steady_product(residual, self.W_dec.t())
        return torch.stack(chosen, dim=1)

"""BatchTopK: k latents per text on average, shared out over the batch in training and by a threshold afterwards."""

from __future__ import annotations

import torch
from torch import Tensor

from sae_kedro.errors import InputError
from sae_kedro.sae.base import SAE
from sae_kedro.sae.codes import Support
from sae_kedro.sae.levels import exact_level
from sae_kedro.sae.screening import Int8Product
from sae_kedro.sae.selection import largest_of_batch


class BatchTopKSAE(SAE):
    """Keeps the `top_k * n` largest positive pre-activations of a training batch (Bussmann et al., arXiv 2412.06410).

    At inference a text's codes must not depend on its batch: entries above one threshold are kept, calibrated so
    that texts it was not trained on have `top_k` active latents on average.
    """

    summary = "top_k latents per text on average, by one calibrated threshold"
    formula = "z = ReLU(pi) on the k*n largest pi of a training batch; z = pi * 1[pi > threshold] at inference"
    paper = "2412.06410"

    threshold: Tensor

    def __init__(self, cfg: dict[str, object]) -> None:
        super().__init__(cfg)
        self.register_buffer("threshold", torch.tensor(torch.nan))

    def select(self, pre_acts: Tensor) -> Support:
        """Choose the largest entries of the batch in training, those above the threshold otherwise.

        Raises:
            InputError: In evaluation mode, before the threshold is calibrated.
        """
        if self.training:
            return largest_of_batch(pre_acts, self.top_k * len(pre_acts))
        if self.threshold.isnan():
            raise InputError("this BatchTopK SAE has no inference threshold yet; train it, or call calibrate(x)")
        return Support.from_mask(pre_acts > self.threshold)

    def screen(self, product: Int8Product) -> tuple[Support, Tensor] | None:
        """Choose the largest entries of the training batch."""
        return product.largest_of_batch(self.top_k * len(product.x))

    def calibrate(self, x: Tensor) -> None:
        """Set the threshold at which the sample has `top_k` active latents per text on average, exactly."""
        positive = (pre_acts[pre_acts > 0] for pre_acts in self.pre_acts_by_chunk(x))
        self.threshold.fill_(max(0.0, exact_level(positive, self.top_k * len(x))))

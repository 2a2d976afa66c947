"""Latents that stopped firing: how long each has been silent, and the loss that revives them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sae_kedro.sae.base import SAE
from sae_kedro.sae.contract import Forward


class DeadLatents:
    """Counts training samples since each latent last fired.

    Args:
        dict_size: Number of latents.
        window: A latent is dead after this many samples without firing.
        device: Where the counter lives.
    """

    def __init__(self, dict_size: int, window: int, device: torch.device | str = "cpu") -> None:
        self.window = window
        self.silent_for = torch.zeros(dict_size, dtype=torch.long, device=device)
        """`(dict_size,)`: samples since each latent last had a non-zero code."""

    def update(self, firing_counts: Tensor, n: int) -> None:
        """Count a training batch of `n` samples in which latents fired `firing_counts (dict_size,)` times."""
        self.silent_for += n
        self.silent_for[firing_counts > 0] = 0

    def indices(self) -> Tensor:
        """Return the dead latents `(n_dead,)`."""
        return (self.silent_for >= self.window).nonzero().squeeze(1)


def aux_k_loss(sae: SAE, out: Forward, dead: Tensor, k_aux: int) -> Tensor:
    """Return AuxK: the share of the residual that the `k_aux` strongest dead latents fail to explain (2406.04093).

    The residual is detached and the decoder bias is left out, so that nothing but dead latents (and the bias through
    their encoder) receives a gradient.

    Args:
        sae: Must have linear pre-activations.
        out: The pass whose residual is to be explained, `n` rows.
        dead: `(n_dead,)`, at least one.
        k_aux: Dead latents used per text at most.
    """
    residual = (out.x - out.x_hat).detach()
    pre_acts = sae.latent_pre_acts(out.x, dead)
    acts = pre_acts if sae.signed else pre_acts.relu()
    if k_aux < len(dead):
        strongest = acts.detach().abs().topk(k_aux, dim=1, sorted=False).indices
        acts = torch.zeros_like(acts).scatter(1, strongest, acts.gather(1, strongest))
    explained = acts @ sae.W_dec[dead]
    centred = residual - residual.mean(dim=0) if len(residual) > 1 else residual
    floor = 1e-12 * residual.numel()
    return (explained - residual).square().sum() / max(float(centred.square().sum()), floor)


def window_in_samples(dead_after: float, n_train: int) -> int:
    """Turn a window in epochs into samples."""
    return max(1, math.ceil(dead_after * n_train))

"""HypotheSAEs: TopK and BatchTopK with an auxiliary loss, Adam at a constant learning rate."""

from __future__ import annotations

import torch
from hypothesaes.sae import SparseAutoencoder
from torch import Tensor

from ._common import Inference, check_variant

VARIANTS = ("topk", "batchtopk")


def default_lr(variant: str, dict_size: int) -> float:
    """Return the library's default learning rate (the same for both variants and every size)."""
    del variant, dict_size
    return 5e-4


class Adapter(Inference):
    """Drive `SparseAutoencoder` with the optimisation step of its `fit`, default coefficients included."""

    CHUNK = 16384  # of its `get_activations`

    def __init__(
        self,
        variant: str,
        *,
        act_size: int,
        dict_size: int,
        top_k: int,
        lr: float,
        batch_size: int,
        n_steps: int,
        seed: int,
        data: Tensor,
        sparsity: float | None = None,
    ) -> None:
        """Initialise from the data's coordinate-wise median; the library has no schedule and no sparsity penalty."""
        del batch_size, n_steps, sparsity
        check_variant(variant, VARIANTS)
        self.dict_size = dict_size
        torch.manual_seed(seed)
        self.model = SparseAutoencoder(act_size, dict_size, top_k, use_batch_topk=variant == "batchtopk", device="cpu")
        self.model.initialize_weights_(data)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=lr)

    def step(self, x: Tensor) -> None:
        """Take one optimisation step.

        The auxiliary pass (a top-2k over all latents and a second dense decoder product) runs on every step, whether or
        not any latent is dead: that is what the library does.
        """
        model = self.model
        model.train()
        recon, info = model(x)
        loss = model.compute_loss(x, recon, info, aux_coef=1 / 32, multi_coef=0.0)
        self.optimizer.zero_grad()
        loss.backward()
        model.adjust_decoder_gradient_()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        self.optimizer.step()
        model.normalize_decoder_()

    def _infer(self, x: Tensor) -> tuple[Tensor, Tensor]:
        model = self.model
        model.eval()
        # Its forward pass counts towards dead latents even in evaluation mode; evaluating must not change training.
        idle = model.steps_since_activation.clone()
        recon, info = model(x)
        model.steps_since_activation.copy_(idle)
        return recon, info["activations"]

    def directions(self) -> Tensor:
        """Return the decoder directions `(dict_size, act_size)`."""
        return self.model.decoder.weight.t()

"""AbsTopK: the k pre-activations of largest magnitude, with their sign."""

from __future__ import annotations

from torch import Tensor

from sae_kedro.sae import SAE, Support


class AbsTopKSAE(SAE):
    """Keeps the `top_k` pre-activations of largest magnitude of each text, sign and all (arXiv 2510.00404).

    One latent then stands for a direction and its opposite, such as praise and blame.
    """

    summary = "top_k latents per text by magnitude, codes of either sign"
    formula = "z = pi on the k largest |pi| of each text, 0 elsewhere; pi = (x - b_dec) W_enc + b_enc"
    paper = "2510.00404"
    signed = True

    def select(self, pre_acts: Tensor) -> Support:
        """Choose the `top_k` entries of largest magnitude of each row."""
        return Support.from_indices(pre_acts.abs().topk(self.top_k, dim=1, sorted=False).indices, self.dict_size)

    def activate(self, values: Tensor, cols: Tensor | slice) -> Tensor:
        """Keep the value as it is."""
        del cols
        return values

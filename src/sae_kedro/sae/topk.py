"""TopK: the k largest pre-activations of each text."""

from __future__ import annotations

from torch import Tensor

from sae_kedro.sae.base import SAE
from sae_kedro.sae.codes import Support
from sae_kedro.sae.screening import Int8Product
from sae_kedro.sae.selection import largest_of_rows


class TopKSAE(SAE):
    """Keeps the `top_k` largest positive pre-activations of each text (Gao et al., arXiv 2406.04093)."""

    summary = "exactly top_k latents per text"
    formula = "z = ReLU(pi) on the k largest pi of each text, 0 elsewhere; pi = (x - b_dec) W_enc + b_enc"
    paper = "2406.04093"

    def select(self, pre_acts: Tensor) -> Support:
        """Choose the `top_k` largest entries of each row."""
        return Support.from_indices(largest_of_rows(pre_acts, self.top_k), self.dict_size)

    def screen(self, product: Int8Product) -> tuple[Support, Tensor] | None:
        """Choose the `top_k` largest entries of each row."""
        return product.largest_of_rows(self.top_k)

"""What an SAE has to beat: the best linear code of the same length, and a dictionary that learned nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from sae_kedro.sae.base import SAE
from sae_kedro.sae.topk import TopKSAE


class PrincipalComponents(NamedTuple):
    """The subspace in which embeddings vary most."""

    mean: Tensor
    """`(act_size,)`."""
    directions: Tensor
    """`(n_components, act_size)`, orthonormal, the largest variance first."""

    def reconstruct(self, x: Tensor) -> Tensor:
        """Project embeddings `(n, act_size)` onto the subspace."""
        return self.mean + (x - self.mean) @ self.directions.t() @ self.directions


@torch.no_grad()
def fit_pca(batches: Iterable[Tensor], n_components: int) -> PrincipalComponents | None:
    """Fit principal components in one pass; None if there are no rows.

    Args:
        batches: Embeddings `(n, act_size)`.
        n_components: Directions to keep; at most `act_size`.
    """
    n, total, products = 0, torch.empty(0), torch.empty(0)
    shift: Tensor | None = None  # close to the mean, so that products do not cancel
    for batch in batches:
        if not len(batch):
            continue
        if shift is None:
            shift = batch.mean(dim=0)
            total = torch.zeros(batch.shape[1], dtype=torch.float64)
            products = torch.zeros(batch.shape[1], batch.shape[1], dtype=torch.float64)
        rows = batch - shift
        n += len(rows)
        total += rows.sum(dim=0).cpu()
        products += (rows.t() @ rows).cpu()
    if shift is None:
        return None
    offset = total / n
    directions = torch.linalg.eigh(products / n - torch.outer(offset, offset)).eigenvectors
    return PrincipalComponents(
        shift + offset.to(shift), directions.flip(1)[:, :n_components].t().contiguous().to(shift)
    )


def random_dictionary(sae: SAE) -> TopKSAE:
    """Build a dictionary of random directions, of the size of `sae`: an untrained TopK SAE with tied weights.

    Rows of `W_dec` are Gaussian and then scaled to norm 1. The codes of a text are the `top_k` largest inner products
    of its centred embedding with them, negative ones set to 0; the reconstruction is the mean of the training
    embeddings plus the sum of code times row. Nothing is fitted.
    """
    other = TopKSAE({key: getattr(sae, key) for key in ("act_size", "dict_size", "top_k")} | {"seed": 0})
    other.mean.copy_(sae.train_mean)
    return other.to(sae.W_dec).eval()


def baseline_reconstructions(sae: SAE, batches: Iterable[Tensor]) -> dict[str, Callable[[Tensor], Tensor]]:
    """Name the baselines of an SAE and how each reconstructs embeddings `(n, act_size)`.

    Args:
        sae: Gives `top_k`, the size of the dictionary and the mean of the training embeddings.
        batches: Training embeddings `(n, act_size)`; without any, there is no `pca`.
    """
    pca, dictionary = fit_pca(batches, sae.top_k), random_dictionary(sae)

    def from_random_dictionary(x: Tensor) -> Tensor:
        scaled, stats = dictionary.normalise(x)
        return dictionary.denormalise(dictionary.decode_scaled(dictionary.encode_scaled(scaled).codes), stats)

    found: dict[str, Callable[[Tensor], Tensor]] = {} if pca is None else {"pca": pca.reconstruct}
    return found | {"random_dictionary": from_random_dictionary}

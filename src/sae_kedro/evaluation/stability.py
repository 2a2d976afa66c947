"""Whether two SAEs that differ by their seed found the same features."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


@torch.no_grad()
def feature_stability(W_dec_a: Tensor, W_dec_b: Tensor, threshold: float = 0.7, chunk: int = 1024) -> float:
    """Return the share of features of one SAE that another one found as well, by maximum cosine similarity.

    A feature counts as found when some decoder direction of the other SAE has a cosine of at least `threshold` with
    its own. The share need not be the same the other way round, and one direction may match several features;
    Paulo and Belrose (arXiv 2501.16615) pair features one to one instead.

    Args:
        W_dec_a: `(n_a, act_size)`, the decoder directions whose features are looked for.
        W_dec_b: `(n_b, act_size)`, those that are searched.
        threshold: Smallest cosine of a match.
        chunk: Rows of `W_dec_a` compared at a time.
    """
    a, b = F.normalize(W_dec_a.detach(), dim=1), F.normalize(W_dec_b.detach(), dim=1).t()
    found = sum(int(((rows @ b).amax(dim=1) >= threshold).sum()) for rows in a.split(chunk))
    return found / len(a)

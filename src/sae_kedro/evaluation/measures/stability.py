"""Whether two SAEs that differ by their seed found the same features."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sae_kedro.activations.store import ActivationsStoreSBERT
from sae_kedro.errors import InputError, shown
from sae_kedro.evaluation.meanings import Meaning
from sae_kedro.sae.base import SAE
from sae_kedro.sae.io import load_sae

logger = logging.getLogger(__name__)

KEY = "stability_path"
MEANINGS = {
    "feature_stability": Meaning(
        "Features found again",
        "Share of features that the SAE of another seed found, too: it has a direction with a cosine of at least 0.7.",
        headline=True,
        better="higher",
        unit="%",
    )
}


def check(cfg: dict[str, Any]) -> None:
    """Make sure that the other SAE can be loaded.

    Raises:
        InputError: It cannot.
    """
    load_other_seed(cfg)


def measure(sae: SAE, store: ActivationsStoreSBERT, cfg: dict[str, Any]) -> dict[str, Any]:
    """Look for the features of an SAE in the one of another seed that the configuration names."""
    del store
    other = load_other_seed(cfg)
    if sae.cfg.get("seed") == other.cfg.get("seed"):
        logger.warning("Both SAEs have seed=%s, so feature_stability flatters: they began alike", sae.cfg.get("seed"))
    return {"feature_stability": feature_stability(sae.W_dec.cpu(), other.W_dec)}


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
    return float((found_again(W_dec_a, W_dec_b, chunk) >= threshold).double().mean())


@torch.no_grad()
def found_again(W_dec_a: Tensor, W_dec_b: Tensor, chunk: int = 1024) -> Tensor:
    """Return, for each direction of one SAE, its cosine with the nearest one of another: `(n_a,)`.

    Args:
        W_dec_a: `(n_a, act_size)`.
        W_dec_b: `(n_b, act_size)`.
        chunk: Rows of `W_dec_a` compared at a time.
    """
    a, b = F.normalize(W_dec_a.detach(), dim=1), F.normalize(W_dec_b.detach(), dim=1).t()
    return torch.cat([(rows @ b).amax(dim=1) for rows in a.split(chunk)])


def load_other_seed(cfg: dict[str, Any]) -> SAE:
    """Load the SAE that `stability_path` names, for features to be looked for in it.

    Args:
        cfg: Reads `stability_path`, `model_name` and `act_size`.

    Raises:
        InputError: There is no SAE that can be loaded, or it belongs to another embedding model.
    """
    try:
        other = load_sae(Path(cfg["stability_path"]).expanduser())
    except InputError as error:
        raise InputError(f"stability_path={shown(cfg['stability_path'])} cannot be used: {error}") from error
    for key in ("model_name", "act_size"):
        if None not in (known := other.cfg.get(key), cfg[key]) and known != cfg[key]:
            raise InputError(
                f"stability_path={shown(cfg['stability_path'])} holds an SAE of {key}={shown(other.cfg[key])}; choose "
                f"one of {key}={shown(cfg[key])}, whose features can be compared"
            )
    return other

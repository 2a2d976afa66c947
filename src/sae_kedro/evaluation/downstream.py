"""What users do with embeddings, done with embeddings, reconstructions and codes: classify, compare, retrieve.

And whether the features that they would look at are found again with another seed.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from sae_kedro.activations.store import ActivationsStoreSBERT
from sae_kedro.discovery import submodules
from sae_kedro.errors import InputError
from sae_kedro.evaluation import measures
from sae_kedro.keys import TABLES
from sae_kedro.sae.base import SAE


def downstream(sae: SAE, store: ActivationsStoreSBERT, cfg: dict[str, Any]) -> dict[str, Any]:
    """Take the measures whose data the configuration names, each on the three representations.

    Args:
        sae: A trained SAE.
        store: Serves held-out rows, and encodes the texts of other sets.
        cfg: Reads the `KEY` of each of `measures`; one whose key is null is left out.

    Returns:
        Metrics by name, with `_ci95` for intervals.
    """
    metrics: dict[str, Any] = {}
    for measure in _asked_for(cfg):
        metrics |= measure.measure(sae, store, cfg)
    return metrics


def check_downstream(cfg: dict[str, Any]) -> None:
    """Make sure, before a model loads, that what the configuration names can be read.

    Raises:
        InputError: What is wrong with which of it.
    """
    for measure in _asked_for(cfg):
        measure.check(cfg)


def _asked_for(cfg: dict[str, Any]) -> list[ModuleType]:
    if all(cfg[key] is None for key in TABLES["evaluate"].model_fields):
        return []  # and nothing of them is imported
    for name, measure in submodules(measures.__name__).items():
        if measure.KEY not in cfg:
            raise InputError(f"evaluation/measures/{name}.py has the KEY {measure.KEY!r}; add it to keys/evaluate.py")
    return [measure for measure in submodules(measures.__name__).values() if cfg[measure.KEY] is not None]

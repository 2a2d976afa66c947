"""Sparse autoencoders on sentence embeddings: from a text corpus to an evaluated dictionary of features."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from sae_kedro._lazy import lazy_exports

# Nothing phones home unless the user says so; these must be set before the libraries are imported.
for _name, _value in {
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "WANDB_ERROR_REPORTING": "false",
    "TOKENIZERS_PARALLELISM": "true",
}.items():
    os.environ.setdefault(_name, _value)

if TYPE_CHECKING:
    from sae_kedro.activations.encoder import load_model as load_model
    from sae_kedro.activations.store import ActivationsStoreSBERT as ActivationsStoreSBERT
    from sae_kedro.config import get_experiment_cfg as get_experiment_cfg
    from sae_kedro.config import post_init_cfg as post_init_cfg
    from sae_kedro.errors import InputError as InputError
    from sae_kedro.evaluation.metrics import evaluate as evaluate
    from sae_kedro.sae.base import SAE as SAE
    from sae_kedro.sae.batchtopk import BatchTopKSAE as BatchTopKSAE
    from sae_kedro.sae.io import load_sae as load_sae
    from sae_kedro.sae.io import save_sae as save_sae
    from sae_kedro.sae.jumprelu import JumpReLUSAE as JumpReLUSAE
    from sae_kedro.sae.registry import sae_classes as sae_classes
    from sae_kedro.sae.topk import TopKSAE as TopKSAE
    from sae_kedro.sae.vanilla import VanillaSAE as VanillaSAE
    from sae_kedro.training.trainer import train as train

__version__ = "0.1.0"

_ORIGIN = {
    "ActivationsStoreSBERT": "sae_kedro.activations.store",
    "BatchTopKSAE": "sae_kedro.sae.batchtopk",
    "InputError": "sae_kedro.errors",
    "JumpReLUSAE": "sae_kedro.sae.jumprelu",
    "SAE": "sae_kedro.sae.base",
    "TopKSAE": "sae_kedro.sae.topk",
    "VanillaSAE": "sae_kedro.sae.vanilla",
    "evaluate": "sae_kedro.evaluation.metrics",
    "get_experiment_cfg": "sae_kedro.config",
    "load_model": "sae_kedro.activations.encoder",
    "load_sae": "sae_kedro.sae.io",
    "post_init_cfg": "sae_kedro.config",
    "sae_classes": "sae_kedro.sae.registry",
    "save_sae": "sae_kedro.sae.io",
    "train": "sae_kedro.training.trainer",
}
__all__ = sorted(_ORIGIN)
__getattr__, __dir__ = lazy_exports(__name__, _ORIGIN)

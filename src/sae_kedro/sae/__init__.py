"""The variants and what they share, in pure torch. Plugins import from here and know nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sae_kedro._lazy import lazy_exports

if TYPE_CHECKING:
    from sae_kedro.sae.base import SAE as SAE
    from sae_kedro.sae.base import Encoding as Encoding
    from sae_kedro.sae.base import Forward as Forward
    from sae_kedro.sae.base import Progress as Progress
    from sae_kedro.sae.base import SAEOptions as SAEOptions
    from sae_kedro.sae.base import SAEOutput as SAEOutput
    from sae_kedro.sae.batchtopk import BatchTopKSAE as BatchTopKSAE
    from sae_kedro.sae.codes import Codes as Codes
    from sae_kedro.sae.codes import Support as Support
    from sae_kedro.sae.io import load_sae as load_sae
    from sae_kedro.sae.io import save_sae as save_sae
    from sae_kedro.sae.jumprelu import JumpReLUSAE as JumpReLUSAE
    from sae_kedro.sae.registry import sae_classes as sae_classes
    from sae_kedro.sae.topk import TopKSAE as TopKSAE
    from sae_kedro.sae.vanilla import VanillaSAE as VanillaSAE

_ORIGIN = {
    "SAE": "sae_kedro.sae.base",
    "Encoding": "sae_kedro.sae.base",
    "Forward": "sae_kedro.sae.base",
    "SAEOptions": "sae_kedro.sae.base",
    "Progress": "sae_kedro.sae.base",
    "SAEOutput": "sae_kedro.sae.base",
    "BatchTopKSAE": "sae_kedro.sae.batchtopk",
    "Codes": "sae_kedro.sae.codes",
    "Support": "sae_kedro.sae.codes",
    "load_sae": "sae_kedro.sae.io",
    "save_sae": "sae_kedro.sae.io",
    "JumpReLUSAE": "sae_kedro.sae.jumprelu",
    "sae_classes": "sae_kedro.sae.registry",
    "TopKSAE": "sae_kedro.sae.topk",
    "VanillaSAE": "sae_kedro.sae.vanilla",
}
__all__ = sorted(_ORIGIN)
__getattr__, __dir__ = lazy_exports(__name__, _ORIGIN)

"""Adapters that put other sparse-autoencoder libraries behind one interface, for benchmarks.

Importing this package keeps the peers off the network and silent, so import it before any of them. The adapters live
in modules of their own because each needs its library installed (see `requirements.txt`).
"""

import importlib
import os
import sys
from types import ModuleType

for _name, _value in {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "WANDB_MODE": "disabled",
    "WANDB_SILENT": "true",
    "SPARSIFY_DISABLE_TRITON": "1",  # its Triton decoder cannot take CPU tensors
}.items():
    os.environ.setdefault(_name, _value)

# The torchvision wheel of the package index is built against CUDA and does not load beside a CPU-only torch, which
# breaks `import transformers` for every peer. None of them uses it here, so it is declared absent.
sys.modules.setdefault("torchvision", None)  # type: ignore[arg-type]

PEERS = {
    "sae_lens": "sae_lens_",
    "dictionary_learning": "dictionary_learning_",
    "hypothesaes": "hypothesaes_",
    "sparsify": "sparsify_",
}


def load(peer: str) -> ModuleType:
    """Import the adapter module of `peer`, one of `PEERS`; it has `VARIANTS`, `default_lr` and `Adapter`."""
    return importlib.import_module(f".{PEERS[peer]}", __name__)

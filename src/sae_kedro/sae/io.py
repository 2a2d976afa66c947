"""A saved SAE: a folder with `cfg.json` and `sae_weights.safetensors`, and nothing that runs code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from sae_kedro.errors import InputError
from sae_kedro.sae.base import SAE
from sae_kedro.sae.registry import sae_classes

CFG_FILE, WEIGHTS_FILE = "cfg.json", "sae_weights.safetensors"


def save_sae(sae: SAE, path: str | Path) -> None:
    """Write an SAE to a folder; each file appears whole or not at all."""
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    weights = folder / f"{WEIGHTS_FILE}.tmp"
    weights.write_bytes(save({name: tensor.detach().cpu().contiguous() for name, tensor in sae.state_dict().items()}))
    weights.replace(folder / WEIGHTS_FILE)
    settings = folder / f"{CFG_FILE}.tmp"
    provider = sae_classes.providers().get(str(sae.cfg.get("sae_type")), [None])[0]
    origin = {"sae_provider": {"distribution": provider.distribution, "version": provider.version}} if provider else {}
    settings.write_text(json.dumps(sae.cfg | origin, indent=2) + "\n")
    settings.replace(folder / CFG_FILE)


def load_sae(path: str | Path, device: str = "cpu") -> SAE:
    """Load an SAE of the variant that was saved, ready for inference. Nothing is unpickled.

    Args:
        path: A folder written by `save_sae`, such as `data/06_models/topk`.
        device: Where to put it.

    Raises:
        InputError: The folder is not a saved SAE, its variant is not installed, or its files do not fit together.
    """
    folder = Path(path)
    cfg = _read_cfg(folder)
    sae_type = str(cfg["sae_type"])
    if sae_type not in sae_classes:
        provider = cfg.get("sae_provider", {})
        owner = provider.get("distribution") or f"sae-kedro-{sae_type}"
        raise InputError(
            f"{folder} holds an SAE of type {sae_type!r}, which is not installed; run `pip install {owner}` "
            f"(it was saved with version {provider.get('version') or 'unknown'})"
        )
    sae = sae_classes[sae_type](cfg)
    try:
        sae.load_state_dict(load_file(folder / WEIGHTS_FILE))
    except (RuntimeError, SafetensorError, FileNotFoundError) as error:
        raise InputError(f"{folder / WEIGHTS_FILE} does not fit {CFG_FILE}: {' '.join(str(error).split())}") from error
    return sae.to(torch.device(device)).eval()


def _read_cfg(folder: Path) -> dict[str, Any]:
    try:
        cfg = json.loads((folder / CFG_FILE).read_text())
    except FileNotFoundError as error:
        raise InputError(f"{folder} is not a saved SAE: it has no {CFG_FILE}") from error
    except ValueError as error:
        raise InputError(f"{folder / CFG_FILE} is not valid JSON: {error}") from error
    if not isinstance(cfg, dict) or "sae_type" not in cfg:
        raise InputError(f"{folder / CFG_FILE} does not name a sae_type")
    return cfg

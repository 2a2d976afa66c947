"""A configuration: the table of keys with your overrides, checked and completed.

`get_experiment_cfg` gives the defaults with your overrides, `post_init_cfg` checks them and fills in what is
derived. Options that belong to one variant are declared by that variant and join the table when it is chosen.
"""

from __future__ import annotations

import math
import re
from typing import Any

from sae_kedro.corpora.opening import brings_embeddings, brought_size
from sae_kedro.errors import InputError, nearest, shown
from sae_kedro.keys import ExperimentConfig
from sae_kedro.machine import resolve_device
from sae_kedro.models import DEFAULT_MODEL, embedding_size
from sae_kedro.sae.registry import BUILT_IN, sae_classes
from sae_kedro.validation import check_model


def get_experiment_cfg(**overrides: Any) -> dict[str, Any]:
    """Return the default configuration with `overrides` applied.

    Args:
        overrides: Any key of `ExperimentConfig`, or an option of the chosen variant.

    Returns:
        A flat, JSON-serialisable dictionary with every key; pass it to `post_init_cfg` next.

    Raises:
        InputError: An unknown key, a wrong type or a value out of bounds.
    """
    return _validated(overrides)


def post_init_cfg(cfg: dict[str, Any]) -> dict[str, Any]:
    """Check a configuration and fill in what is derived from other keys, the model and the machine.

    Args:
        cfg: A configuration such as `get_experiment_cfg` returns; it is not changed.

    Returns:
        A copy in which `act_size`, `device`, `lr`, `name`, `top_k_aux`, the variant's options and, unless embeddings
        are given, `model_name` have values.

    Raises:
        InputError: Whatever is wrong, in one sentence.
    """
    cfg = _validated(cfg, fill_options=True)
    brings = brings_embeddings(cfg)
    if cfg["model_name"] is None and not brings:
        cfg["model_name"] = DEFAULT_MODEL
    if cfg["act_size"] is None:
        cfg["act_size"] = brought_size(cfg) if brings else embedding_size(cfg["model_name"])
    if cfg["top_k_aux"] is None:
        cfg["top_k_aux"] = max(1, cfg["act_size"] // 2)
    if cfg["lr"] is None:
        cfg["lr"] = default_lr(cfg["batch_size"])
    if cfg["name"] is None:
        cfg["name"] = _derived_name(cfg)
    cfg["device"] = resolve_device(cfg["device"])
    return cfg


def run_folder(cfg: dict[str, Any]) -> str:
    """Return what the folders of a run are called: its name if it was given one, or else its variant.

    Args:
        cfg: What `post_init_cfg` returned.
    """
    return str(cfg["sae_type"] if cfg["name"] == _derived_name(cfg) else cfg["name"])


def _derived_name(cfg: dict[str, Any]) -> str:
    name = f"{cfg['sae_type']}-{cfg['dict_size']}-k{cfg['top_k']}-lr{cfg['lr']:.2g}-s{cfg['seed']}"
    return re.sub(r"[^\w.+-]", "-", name)[:80]


def default_lr(batch_size: int) -> float:
    """Peak learning rate for sentence embeddings: 3e-3 at batches of 512, growing with their root (RECIPE.md)."""
    return round(3e-3 * math.sqrt(min(batch_size, 2048) / 512), 6)


def _validated(given: dict[str, Any], fill_options: bool = False) -> dict[str, Any]:
    """Check core keys first (no heavy import), then the chosen variant's own options."""
    core = ExperimentConfig.model_fields
    cfg = check_model(ExperimentConfig, {key: value for key, value in given.items() if key in core})
    if cfg["top_k"] > cfg["dict_size"]:
        raise InputError(
            f"top_k={cfg['top_k']} is larger than dict_size={cfg['dict_size']}; choose at most {cfg['dict_size']}"
        )
    chosen = sae_classes[cfg["sae_type"]].Options
    listed = {key: None for name in BUILT_IN for key in sae_classes[name].Options.model_fields}
    for key, value in given.items():
        if key not in core and key not in chosen.model_fields and not (key in listed and value is None):
            raise InputError(_misplaced(key, value, cfg["sae_type"]))
    own = {key: value for key, value in given.items() if key in chosen.model_fields and value is not None}
    filled = check_model(chosen, own)
    return cfg | listed | (filled if fill_options else {key: own.get(key) for key in filled})


def _misplaced(key: str, value: object, sae_type: str) -> str:
    """Explain a key that is neither a core key nor an option of the chosen variant."""
    owner = {
        option: name for name in reversed(sae_classes.usable()) for option in sae_classes[name].Options.model_fields
    }
    if key in owner:
        return (
            f"{key}={shown(value)} is an option of sae_type={owner[key]!r}, but sae_type is {sae_type!r}; "
            "leave it out or set it to null"
        )
    known = {*ExperimentConfig.model_fields, *owner}
    return f"{shown(key)} is not a known key{nearest(key, known) or '; known keys: ' + ', '.join(sorted(known))}"

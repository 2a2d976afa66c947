"""What is compared: a configuration for every variant, sparsity and setting."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import product
from typing import Any

from sae_kedro.config import post_init_cfg
from sae_kedro.errors import InputError, nearest, shown
from sae_kedro.keys import NOT_DECISIVE, TABLES, ExperimentConfig
from sae_kedro.sae.registry import sae_classes
from sae_kedro.validation import check_model

SWEPT_BY_NAME = ("sae_type", "top_k")
"""Keys that have one of their own for what is compared: `sae_types` and `top_ks`."""
SWEEPABLE = TABLES["train"].model_fields.keys() - NOT_DECISIVE - {*SWEPT_BY_NAME}
"""Other keys that may differ from model to model, beside options of variants."""


def comparison_cfgs(cfg: dict[str, Any]) -> list[dict[str, Any]]:
    """Check a configuration, and derive one for each variant in `sae_types`, value in `top_ks` and setting in `sweep`.

    Args:
        cfg: A configuration; it may hold options of any of the variants, and its `sae_type` and `top_k` are not read.

    Returns:
        What `post_init_cfg` returns, variant by variant. An option is varied for the variants that have it.

    Raises:
        InputError: Whatever is wrong, in one sentence.
    """
    core = {key: value for key, value in cfg.items() if key in ExperimentConfig.model_fields}
    core = check_model(ExperimentConfig, core | {"sae_type": "topk", "top_k": 1})
    names = list(dict.fromkeys(sae_classes.usable() if core["sae_types"] is None else core["sae_types"]))
    for name in names:
        if name not in sae_classes:
            known = ", ".join(sae_classes)
            raise InputError(
                f"sae_types holds {shown(name)}, which is not a registered variant; choose among {known}"
                f"{nearest(name, sae_classes)}"
            )
    options = {name: set(sae_classes[name].Options.model_fields) for name in names}
    all_options = set().union(*options.values())
    _check_swept(core["sweep"], SWEEPABLE | all_options)
    cfgs: list[dict[str, Any]] = []
    for name in names:
        foreign = all_options - options[name]
        own = {key: value for key, value in cfg.items() if key not in foreign}
        swept = {key: values for key, values in core["sweep"].items() if key not in foreign}
        for setting in (dict(zip(swept, values, strict=True)) for values in product(*swept.values())):
            _check_ks(core, setting)
            for k in core["top_ks"]:
                chosen = setting | {"sae_type": name, "top_k": k}
                derived = post_init_cfg(own | chosen | {"name": _name(core["name"], chosen)})
                if derived not in cfgs:
                    cfgs.append(derived)
    return cfgs


def _check_swept(keys: Iterable[str], allowed: set[str]) -> None:
    for key in keys:
        if key in SWEPT_BY_NAME:
            raise InputError(f"sweep cannot hold {key}; set {key}s")
        if key not in allowed:
            what = "all models of a comparison share" if key in ExperimentConfig.model_fields else "no variant here has"
            known = ", ".join(sorted(allowed))
            raise InputError(
                f"sweep cannot hold {shown(key)}, which {what}; choose among {known}{nearest(key, allowed)}"
            )


def _check_ks(core: dict[str, Any], setting: dict[str, Any]) -> None:
    """Make sure that the values of `top_ks` fit the dictionary of a setting."""
    size = check_model(ExperimentConfig, core | {key: setting[key] for key in setting if key in core})["dict_size"]
    for k in core["top_ks"]:
        if k > size:
            raise InputError(f"top_ks holds {k}, which is larger than dict_size={size}; choose at most {size}")


def _name(name: str | None, chosen: dict[str, Any]) -> str | None:
    """Return what a model is called in W&B."""
    if name is None:
        return None
    setting = "".join(f"-{key}-{value}" for key, value in chosen.items() if key not in SWEPT_BY_NAME)
    return re.sub(r"[^\w.+-]", "-", f"{name}-{chosen['sae_type']}-k{chosen['top_k']}{setting}", flags=re.ASCII)[:80]

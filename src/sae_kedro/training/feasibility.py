"""Whether a configuration can be trained here, told before anything is allocated."""

from __future__ import annotations

from typing import Any

from sae_kedro.errors import InputError
from sae_kedro.machine import available_memory, in_words
from sae_kedro.sae.registry import sae_classes


def check_trainable(cfg: dict[str, Any]) -> None:
    """Make sure that there are texts to train on, and memory to do it in.

    Raises:
        InputError: What is missing, and the largest value that would do.
    """
    if 1.5 * cfg["eval_fraction"] >= 1:
        raise InputError(
            f"eval_fraction={cfg['eval_fraction']} leaves no text to train on, as half as many again calibrate; "
            "choose at most 0.6"
        )
    check_training_memory(cfg)


def check_training_memory(cfg: dict[str, Any]) -> None:
    """Make sure that the least a training run needs is there: weights, gradients, Adam's moments, pre-activations.

    Args:
        cfg: The configuration that `post_init_cfg` returned.

    Raises:
        InputError: It is not, with the largest value of the key that would be.
    """
    available = available_memory(cfg["device"])
    if available is None:
        return
    matrices = 2 if sae_classes[cfg["sae_type"]].linear_encoder else 1
    per_latent = 4 * 4 * matrices * cfg["act_size"]  # in float32: the weights, and three more numbers for each
    rows = min(cfg["batch_size"], cfg["num_examples"] or cfg["batch_size"])
    needed = cfg["dict_size"] * (per_latent + 4 * rows)
    if needed <= available:
        return
    spare = available - cfg["dict_size"] * per_latent
    if spare >= available / 2:
        key, fits = "batch_size", spare // (4 * cfg["dict_size"])
    else:
        key, fits = "dict_size", available // (per_latent + 4 * rows)
    raise InputError(
        f"{key}={cfg[key]} needs {in_words(needed)} of memory to train, and {in_words(available)} are available; "
        f"choose at most {fits}"
    )

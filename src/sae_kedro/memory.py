"""Whether what is asked for fits into memory, told before it is allocated."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from sae_kedro.errors import InputError


def check_training_memory(cfg: dict[str, Any]) -> None:
    """Make sure that the least a training run needs is there: weights, gradients, Adam's moments, pre-activations.

    Args:
        cfg: The configuration that `post_init_cfg` returned.

    Raises:
        InputError: It is not, with the largest value of the key that would be.
    """
    from sae_kedro.sae.registry import sae_classes

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


def available_memory(device: str = "cpu") -> int | None:
    """Return the bytes that can be allocated, swap included, as far as the system tells; None where it does not."""
    if device.startswith("cuda"):
        import torch

        return int(torch.cuda.mem_get_info(device)[0])
    parts = re.findall(r"^(?:MemAvailable|SwapFree): +(\d+) kB$", _text("/proc/meminfo"), re.MULTILINE)
    limit = _text("/sys/fs/cgroup/memory.max").strip()  # of a container; "max" for none
    known = [1024 * sum(map(int, parts))] if parts else []
    return min([*known, int(limit)] if limit.isdecimal() else known, default=None)


def in_words(n_bytes: int) -> str:
    """Write a number of bytes in a unit that suits it."""
    return f"{n_bytes / 2**30:,.1f} GiB" if n_bytes >= 2**30 else f"{n_bytes / 2**20:,.1f} MiB"


def _text(file: str) -> str:
    try:
        return Path(file).read_text()
    except OSError:
        return ""

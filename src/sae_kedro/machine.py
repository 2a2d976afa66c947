"""What this machine can do: devices, precision, memory. Knows nothing of the project but how to word an error."""

from __future__ import annotations

import re
from pathlib import Path

from sae_kedro.errors import InputError, nearest, shown


def resolve_device(device: str) -> str:
    """Turn `auto` into a device of this machine, and refuse one that is not here.

    Raises:
        InputError: Names those that are.
    """
    import torch

    found = ["cpu"]
    if torch.cuda.is_available():
        found += ["cuda", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    if device == "auto":
        return "cuda" if "cuda" in found else "cpu"
    if device not in found:
        raise InputError(
            f"device={shown(device)} is not available on this machine; choose auto or one of {', '.join(found)}"
            f"{nearest(device, found)}"
        )
    return device


def resolve_dtype(dtype: str, device: str) -> str:
    """Turn `auto` into bfloat16 where the machine multiplies it faster than float32 (tensor cores, AMX)."""
    if dtype != "auto":
        return dtype
    import torch

    if device.startswith("cuda"):
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    return "bfloat16" if device == "cpu" and torch.cpu._is_amx_tile_supported() else "float32"


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

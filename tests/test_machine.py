from __future__ import annotations

import os

import pytest
import torch

from sae_kedro import machine
from sae_kedro.machine import available_memory, resolve_dtype


def test_available_memory_is_some_of_what_the_machine_has(monkeypatch):
    found = available_memory()
    assert found is None or found > 0
    files = {"/proc/meminfo": "MemTotal: 9 kB\nMemAvailable:    5000 kB\nSwapFree:  1000 kB\n"}
    monkeypatch.setattr(machine, "_text", lambda file: files.get(file, ""))
    assert available_memory() == 6000 * 1024
    files["/sys/fs/cgroup/memory.max"] = "max\n"
    assert available_memory() == 6000 * 1024
    files["/sys/fs/cgroup/memory.max"] = "4096\n"
    assert available_memory() == 4096
    files.clear()
    assert available_memory() is None


@pytest.mark.skipif(not os.path.exists("/proc/meminfo"), reason="no /proc")
def test_this_machine_tells():
    assert available_memory() > 2**20


def test_auto_is_float32_or_bfloat16_and_a_named_dtype_is_kept():
    assert resolve_dtype("auto", "cpu") == ("bfloat16" if torch.cpu._is_amx_tile_supported() else "float32")
    assert resolve_dtype("auto", "mps") == "float32"
    assert resolve_dtype("float16", "cpu") == "float16"

"""Saved SAEs damaged at random: refused in one sentence, or loaded as they were, never anything else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from saved import CFG, WEIGHTS, refusal, remove_digests, reseal

from sae_kedro import InputError, load_sae, sae_classes, save_sae

pytestmark = pytest.mark.usefixtures("plugins_listed_once")

COMMON = settings(deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
LONG = settings(COMMON, max_examples=int(os.environ.get("FUZZ_EXAMPLES", "2000")))
SHORT = settings(COMMON, derandomize=True, database=None, max_examples=150)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=6,
)


def original(sae_type: str, folder: Path) -> tuple[dict[str, bytes], dict[str, torch.Tensor]]:
    """Save a tiny SAE, whose files are mostly header, and return the files and the tensors."""
    sae = sae_classes[sae_type](
        {"sae_type": sae_type, "act_size": 2, "dict_size": 4, "top_k": 1, "lr": 0.5, "name": "a"}
    )
    save_sae(sae, folder)
    return {name: (folder / name).read_bytes() for name in (CFG, WEIGHTS)}, sae.state_dict()


@st.composite
def damages(draw, whole: bytes) -> bytes:
    """Draw a damaged copy: bits flipped, ends cut off, parts lost, added, or written over others."""
    data = bytearray(whole)
    for _ in range(draw(st.integers(1, 3))):
        place, end = sorted(draw(st.tuples(*[st.integers(0, len(data))] * 2)))
        kind = draw(st.sampled_from(["flip", "cut", "lose", "add", "splice"]))
        if kind == "flip" and place < len(data):
            data[place] ^= 1 << draw(st.integers(0, 7))
        elif kind == "cut":
            del data[place:]
        elif kind == "lose":
            del data[place:end]
        elif kind == "add":
            data[place:place] = draw(st.binary(min_size=1, max_size=20))
        elif kind == "splice":
            other = draw(st.integers(0, len(data)))
            data[other : other + end - place] = data[place:end]
    return bytes(data)


def check_loaded(folder: Path, tensors: dict[str, torch.Tensor], cfg: dict) -> None:
    """Load, and compare with the SAE that was saved if that works."""
    try:
        sae = load_sae(folder)
    except InputError:
        assert str(folder) in refusal(folder)
        return
    for name, tensor in sae.state_dict().items():
        torch.testing.assert_close(tensor, tensors[name], rtol=0, atol=0, equal_nan=True)
    assert sae.cfg.items() >= cfg.items()


def check_damage(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as place:
        files, tensors = original(data.draw(st.sampled_from(["batchtopk", "jumprelu"])), Path(place))
        cfg = json.loads(files[CFG])
        del cfg["sha256"]
        name = data.draw(st.sampled_from([CFG, WEIGHTS]))
        damaged = data.draw(damages(files[name]))
        Path(place, name).write_bytes(damaged)
        if name == CFG and b'"sha256"' not in damaged:
            cfg = {}  # it reads like one without digests: nothing says what was there
        check_loaded(Path(place), tensors, cfg)


def check_value(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as place:
        files, tensors = original(data.draw(st.sampled_from(["batchtopk", "jumprelu"])), Path(place))
        cfg = json.loads(files[CFG])
        key = data.draw(st.sampled_from(sorted(cfg.keys() | {"seed", "input_unit_norm", "bandwidth", "training"})))
        value = data.draw(JSON)
        if key != "sha256" and data.draw(st.booleans()):
            reseal(Path(place), **{key: value})
            check_loaded(Path(place), tensors, {})  # well-formed, so all that counts is that nothing breaks
        else:
            Path(place, CFG).write_text(json.dumps(cfg | {key: value}))
            if key in cfg and cfg[key] == value and type(cfg.get(key)) is type(value):
                assert load_sae(place)
            elif key != "sha256" or value is not None:
                assert "was changed after it was saved" in refusal(Path(place))


def check_headless(data: st.DataObject) -> None:
    """Damage weights that no digest protects: numbers may change unseen, but nothing breaks."""
    with tempfile.TemporaryDirectory() as place:
        files, tensors = original(data.draw(st.sampled_from(["batchtopk", "jumprelu"])), Path(place))
        remove_digests(Path(place))
        Path(place, WEIGHTS).write_bytes(data.draw(damages(files[WEIGHTS])))
        try:
            sae = load_sae(place)
        except InputError:
            refusal(Path(place))
        else:
            assert {name: t.shape for name, t in sae.state_dict().items()} == {n: t.shape for n, t in tensors.items()}


CHECKS = [check_damage, check_value, check_headless]


@pytest.mark.parametrize("check", CHECKS)
def test_a_damaged_sae_is_refused_or_as_it_was(check):
    SHORT(given(st.data())(check))()


def many() -> None:
    for check in CHECKS:
        LONG(given(st.data())(check))()


@pytest.mark.fuzz
def test_many_damaged_saes_in_little_memory(tmp_path):
    script = (
        "import functools, resource, test_damaged\n"
        "from sae_kedro.sae import registry\n"
        "registry.entry_points = functools.cache(registry.entry_points)\n"
        "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + 2**29, used + 2**29))\n"
        "test_damaged.many()"
    )
    tests = Path(__file__).parents[1]
    env = os.environ | {"PYTHONPATH": os.pathsep.join([*sys.path, str(tests), str(tests / "sae")])}
    run = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-5000:]

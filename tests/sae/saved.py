"""Ways to tamper with a saved SAE in tests, and what loading it then says."""

from __future__ import annotations

import hashlib
import json

import pytest

from sae_kedro import InputError, load_sae

CFG, WEIGHTS = "cfg.json", "sae_weights.safetensors"


def reseal(folder, **changes):
    """Change `cfg.json` as someone who knows the format would, with digests that are right."""
    cfg = json.loads((folder / CFG).read_text()) | changes
    del cfg["sha256"]
    cfg_digest = hashlib.sha256(json.dumps(cfg, sort_keys=True).encode()).hexdigest()
    weights_digest = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
    (folder / CFG).write_text(json.dumps(cfg | {"sha256": {"cfg": cfg_digest, "weights": weights_digest}}))


def refusal(folder):
    with pytest.raises(InputError) as caught:
        load_sae(folder)
    said = str(caught.value)
    assert "\n" not in said and len(said) < 1000
    return said


def remove_digests(folder):
    cfg = json.loads((folder / CFG).read_text())
    del cfg["sha256"]
    (folder / CFG).write_text(json.dumps(cfg))

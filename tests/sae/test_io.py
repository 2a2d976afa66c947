from __future__ import annotations

import json
import pickle

import pytest
import torch
from safetensors.torch import load_file, save_file

from sae_kedro import InputError, load_sae, sae_classes, save_sae


@pytest.fixture
def saved(make_cfg, tmp_path):
    folder = tmp_path / "sae"
    save_sae(sae_classes["jumprelu"](make_cfg(sae_type="jumprelu")), folder)
    return folder


def test_a_folder_holds_cfg_json_and_safetensors_and_nothing_else(saved):
    assert sorted(file.name for file in saved.iterdir()) == ["cfg.json", "sae_weights.safetensors"]
    assert json.loads((saved / "cfg.json").read_text())["sae_type"] == "jumprelu"
    assert load_file(saved / "sae_weights.safetensors")["W_enc"].shape == (16, 64)


def test_every_tensor_survives(saved):
    sae = load_sae(saved)
    assert not sae.training
    for name, tensor in load_file(saved / "sae_weights.safetensors").items():
        torch.testing.assert_close(sae.state_dict()[name], tensor, equal_nan=True, rtol=0, atol=0)


def test_pickled_weights_are_refused_and_never_run(saved, tmp_path):
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "exploded"), "w"))

    (saved / "sae_weights.safetensors").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(InputError, match="does not fit"):
        load_sae(saved)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda f: (f / "cfg.json").unlink(), "is not a saved SAE: it has no cfg.json"),
        (lambda f: (f / "cfg.json").write_text("{"), "is not valid JSON"),
        (lambda f: (f / "cfg.json").write_text("[]"), "does not name a sae_type"),
        (lambda f: (f / "sae_weights.safetensors").unlink(), "does not fit cfg.json"),
        (lambda f: save_file({"W_enc": torch.zeros(2, 2)}, f / "sae_weights.safetensors"), "does not fit cfg.json"),
    ],
)
def test_damaged_folders_are_refused_in_one_sentence(damage, sentence, saved):
    damage(saved)
    with pytest.raises(InputError, match=sentence) as caught:
        load_sae(saved)
    assert "\n" not in str(caught.value)


def test_another_variants_weights_are_refused(saved):
    cfg = json.loads((saved / "cfg.json").read_text())
    (saved / "cfg.json").write_text(json.dumps(cfg | {"sae_type": "topk", "bandwidth": None}))
    with pytest.raises(InputError, match="does not fit"):
        load_sae(saved)


def test_a_missing_plugin_is_named(saved):
    cfg = json.loads((saved / "cfg.json").read_text())
    (saved / "cfg.json").write_text(json.dumps(cfg | {"sae_type": "fancy", "sae_provider": {}}))
    with pytest.raises(InputError, match="type 'fancy', which is not installed; run `pip install sae-kedro-fancy`"):
        load_sae(saved)

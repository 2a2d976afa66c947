from __future__ import annotations

import json
import os
import pickle
import struct
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file
from saved import CFG, WEIGHTS, refusal, remove_digests, reseal

from sae_kedro import InputError, load_sae, sae_classes, save_sae

pytestmark = pytest.mark.usefixtures("plugins_listed_once")


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
        (lambda f: (f / "sae_weights.safetensors").unlink(), "does not fit cfg.json: there is no such file"),
        (lambda f: save_file({"W_enc": torch.zeros(2, 2)}, f / "sae_weights.safetensors"), "does not fit cfg.json"),
    ],
)
def test_damaged_folders_are_refused_in_one_sentence(damage, sentence, saved):
    damage(saved)
    with pytest.raises(InputError, match=sentence) as caught:
        load_sae(saved)
    assert "\n" not in str(caught.value)


def test_another_variants_weights_are_refused(saved):
    reseal(saved, sae_type="topk", bandwidth=None)
    assert refusal(saved).endswith("it holds ['threshold'], of which this variant knows nothing")


def test_a_missing_plugin_is_named(saved):
    reseal(saved, sae_type="fancy", sae_provider={})
    assert "type 'fancy', which is not installed; run `pip install sae-kedro-fancy`" in refusal(saved)


@pytest.mark.parametrize("owner", ["x; rm -rf ~", "--index-url=http://bad", ["x"], "x\ny", "x" * 10**5])
def test_a_plugins_name_cannot_hide_a_command(owner, saved):
    reseal(saved, sae_type="fancy", sae_provider={"distribution": owner, "version": owner})
    assert refusal(saved).endswith("run `pip install sae-kedro-fancy` (it was saved with version unknown)")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"dict_size": 10**12}, "W_dec has the shape (64, 16), not (1000000000000, 16)"),
        ({"dict_size": 65}, "W_dec has the shape (64, 16), not (65, 16)"),
        ({"dict_size": -64}, "not (-64, 16)"),
        ({"dict_size": None}, "not (None, 16)"),
        ({"dict_size": [[64]]}, "not ([[64]], 16)"),
        ({"dict_size": "64"}, "not ('64', 16)"),
        ({"dict_size": 64.0}, "dict_size=64.0 must be a whole number of at least 1"),
        ({"act_size": 10**4000}, "not (64, <a whole number of 13288 bits>)"),
        ({"top_k": True}, "top_k=True must be a whole number of at least 1"),
        ({"top_k": 0}, "top_k=0 must be a whole number of at least 1"),
        ({"top_k": 1e300}, "top_k=1e+300 must be a whole number of at least 1"),
        ({"input_unit_norm": "false"}, "input_unit_norm='false' is not allowed: it must be true or false"),
        ({"input_unit_norm": None}, "input_unit_norm=None is not allowed: it must be true or false"),
        ({"seed": 2**70}, "seed=1180591620717411303424 is too large; choose at most 9007199254740992"),
        ({"seed": "x" * 10**5}, "is not allowed: it must be a whole number of at least 0"),
        ({"bandwidth": "wide"}, "bandwidth='wide' is not allowed: it must be a number above 0"),
        ({"bandwidth": -1}, "bandwidth=-1 is not allowed: it must be a number above 0"),
        ({"sae_type": ["topk"]}, "does not name a sae_type"),
        ({"sae_type": "a" * 10**5}, "which is not installed"),
        ({"training": 3}, "training=3 must be an object"),
        ({"sae_provider": "x" * 2**20}, "are more than the 1048576 of the largest one"),
    ],
)
def test_values_that_no_sae_has_are_refused_before_anything_is_built(changes, sentence, saved):
    reseal(saved, **changes)
    said = refusal(saved)
    assert sentence in said and str(saved) in said


def test_keys_of_other_versions_do_no_harm(saved):
    reseal(saved, of_tomorrow={"deep": [[[]]]}, sae_provider=[1], training={})
    assert load_sae(saved).cfg["of_tomorrow"] == {"deep": [[[]]]}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is not valid JSON: Expecting value"),
        (b"\x00" * 100, "is not valid JSON: Expecting value"),
        (b'{"sae_type": "\xff"}', "is not valid JSON: 'utf-8' codec can't decode byte 0xff"),
        (b"\xff\xfe{\x00}\x00", "is not valid JSON: 'utf-8' codec"),
        (b"[" * 10**6, "is not valid JSON: it is nested too deeply"),
        (b'{"a":' * 10**5, "is not valid JSON: it is nested too deeply"),
        (b'{"sae_type": "topk", "sae_type": "jumprelu"}', "is not valid JSON: the key 'sae_type' occurs twice"),
        (b'{"sae_type": "topk", "lr": NaN}', "is not valid JSON: Out of range float values"),
        (b'{"sae_type": "topk", "lr": -1e999}', "is not valid JSON: Out of range float values"),
        (b'{"sae_type": "topk", "seed": ' + b"9" * 5000 + b"}", "is not valid JSON: Exceeds the limit"),
        (b'{"sae_type": "' + b"a" * 2**20 + b'"}', "bytes are more than the 1048576 of the largest one"),
    ],
)
def test_text_that_is_no_configuration_is_refused(content, sentence, saved):
    (saved / CFG).write_bytes(content)
    assert f"{saved / CFG} {sentence}" in refusal(saved) or sentence in refusal(saved)


@pytest.mark.parametrize("name", [CFG, WEIGHTS])
@pytest.mark.parametrize("kind", ["folder", "loop", "pipe", "nowhere"])
def test_something_else_in_place_of_a_file_is_refused(name, kind, saved):
    place = saved / name
    place.unlink()
    if kind == "folder":
        place.mkdir()
    elif kind == "pipe":
        os.mkfifo(place)
    else:
        place.symlink_to(place if kind == "loop" else saved / "missing")
    assert ("it has no cfg.json" if name == CFG else "there is no such file") in refusal(saved)


def test_a_path_that_cannot_be_is_refused(tmp_path):
    for path in (tmp_path / ("x" * 5000), tmp_path / "a\0b", tmp_path / "missing"):
        with pytest.raises(InputError, match="is not a saved SAE"):
            load_sae(path)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"b_enc": torch.zeros(63)}, "b_enc has the shape (63,), not (64,)"),
        ({"scale": torch.ones(1)}, "scale has the shape (1,), not ()"),
        ({"W_enc": torch.zeros(64, 16)}, "W_enc has the shape (64, 16), not (16, 64)"),
        ({"W_dec": torch.zeros(64, 16, dtype=torch.float64)}, "W_dec is stored as torch.float64, not as torch.float32"),
        ({"W_dec": torch.ones(64, 16, dtype=torch.int8)}, "W_dec is stored as torch.int8"),
        ({"b_dec": torch.zeros(16, dtype=torch.complex64)}, "b_dec is stored as torch.complex64"),
        ({"b_dec": None}, "it lacks b_dec"),
        ({"W_dec": None}, "it lacks W_dec"),
        ({"more": torch.zeros(1)}, "it holds ['more'], of which this variant knows nothing"),
        ({"b_dec": torch.full((16,), torch.nan)}, "b_dec holds numbers that are not finite"),
        ({"scale": torch.tensor(torch.inf)}, "scale holds numbers that are not finite"),
        ({"density": torch.full((64,), torch.inf)}, "density holds numbers that are not finite"),
    ],
)
@pytest.mark.parametrize("digests", [True, False])
def test_weights_of_another_kind_are_refused(changes, sentence, digests, saved):
    tensors = load_file(saved / WEIGHTS) | changes
    save_file({name: tensor for name, tensor in tensors.items() if tensor is not None}, saved / WEIGHTS)
    reseal(saved) if digests else remove_digests(saved)
    assert sentence in refusal(saved) and f"{saved / WEIGHTS} does not fit cfg.json: " in refusal(saved)


HEADER = struct.pack("<Q", 2**62)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        HEADER,
        HEADER + b"{}" * 100,
        struct.pack("<Q", 2**64 - 1) + b"x" * 100,
        struct.pack("<Q", 10**5) + b"[" * 10**5,
        struct.pack("<Q", 2) + b"{}",
        struct.pack("<Q", 68) + b'{"W_dec":{"dtype":"F32","shape":[64,16],"data_offsets":[0,99999999]}}'[:68],
        struct.pack("<Q", 71) + b'{"W_dec":{"dtype":"F32","shape":[9999999999999999],"data_offsets":[0,0]}}'[:71],
    ],
)
def test_headers_that_promise_too_much_are_refused(content, saved):
    (saved / WEIGHTS).write_bytes(content)
    remove_digests(saved)
    assert f"{saved / WEIGHTS} does not fit cfg.json: " in refusal(saved)


def test_a_file_larger_than_memory_is_refused_unread(saved):
    os.truncate(saved / WEIGHTS, 2**43)  # a sparse file
    assert "it needs 16,384.0 GiB of memory, and " in refusal(saved)


def test_flipped_bits_of_a_small_sae_are_found(make_cfg, tmp_path):
    save_sae(sae_classes["topk"](make_cfg(act_size=2, dict_size=2, top_k=1)), tmp_path)
    for name in (CFG, WEIGHTS):
        whole = (tmp_path / name).read_bytes()
        for place in range(0, len(whole), 11):
            (tmp_path / name).write_bytes(
                whole[:place] + bytes([whole[place] ^ 1 << place // 11 % 8]) + whole[place + 1 :]
            )
            try:
                load_sae(tmp_path)
            except InputError:
                continue
            assert name == CFG
            found = json.loads((tmp_path / CFG).read_bytes())
            found.pop("sha256", None)  # a flip in this very name leaves everything else as it was
            kept = json.loads(whole)
            del kept["sha256"]
            assert kept.items() <= found.items()
        (tmp_path / name).write_bytes(whole)


def test_an_sae_without_digests_is_loaded(saved):
    before = load_sae(saved)
    remove_digests(saved)
    after = load_sae(saved)
    assert after.cfg == before.cfg
    assert all(torch.equal(after.state_dict()[name], t) for name, t in before.state_dict().items() if name != "density")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_loaded_as_the_same_numbers(dtype, make_cfg, tmp_path):
    sae = sae_classes["topk"](make_cfg()).to(dtype)
    save_sae(sae, tmp_path)
    loaded = load_sae(tmp_path)
    assert loaded.W_dec.dtype == torch.float32 and torch.equal(loaded.W_dec, sae.W_dec.float())


def test_an_sae_of_an_sae_that_was_loaded_is_the_same(saved, tmp_path):
    save_sae(load_sae(saved), tmp_path / "copy")
    assert (tmp_path / "copy" / CFG).read_bytes() == (saved / CFG).read_bytes()
    assert (tmp_path / "copy" / WEIGHTS).read_bytes() == (saved / WEIGHTS).read_bytes()


@pytest.mark.parametrize("value", [float("nan"), {1, 2}])
def test_a_cfg_that_json_cannot_hold_is_not_saved(value, make_cfg, tmp_path):
    sae = sae_classes["topk"](make_cfg())
    sae.cfg["mine"] = value
    with pytest.raises(InputError, match="the cfg of this SAE cannot be saved as JSON: "):
        save_sae(sae, tmp_path)
    assert not list(tmp_path.iterdir())


KILLED = """
import os, signal, sys
from pathlib import Path
from sae_kedro import sae_classes, save_sae

folder = Path(sys.argv[1])
cfg = {"sae_type": "topk", "act_size": 4, "dict_size": 8, "top_k": 2}
calls = 0

def counted(function, last):
    def call(*args):
        global calls
        calls += 1
        if calls == last:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*args)
    return call

for last in range(1, 6):
    save_sae(sae_classes["topk"](cfg | {"seed": 1}), folder / str(last))
    if os.fork() == 0:
        Path.write_bytes, Path.replace = counted(Path.write_bytes, last), counted(Path.replace, last)
        save_sae(sae_classes["topk"](cfg | {"seed": 2}), folder / str(last))
        os._exit(0)
    print(os.wait()[1])
"""


def test_a_kill_while_saving_never_mixes_two_saes(tmp_path):
    run = subprocess.run([sys.executable, "-c", KILLED, tmp_path], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["9"] * 4 + ["0"]  # two files written, two put in place; the fifth call never comes
    for last in (1, 2, 3):
        assert load_sae(tmp_path / str(last)).cfg["seed"] == 1
    assert refusal(tmp_path / "4").endswith(
        "it is damaged, or belongs to another save, one that was stopped halfway perhaps"
    )
    assert load_sae(tmp_path / "5").cfg["seed"] == 2
    save_sae(load_sae(tmp_path / "5"), tmp_path / "4")
    assert sorted(file.name for file in (tmp_path / "4").iterdir()) == [CFG, WEIGHTS]


def test_a_device_that_is_not_there_is_refused(make_cfg, tmp_path):
    save_sae(sae_classes["topk"](make_cfg()), tmp_path)
    with pytest.raises(
        InputError, match="device='cuda:99' is not available on this machine; choose auto or one of cpu"
    ):
        load_sae(tmp_path, device="cuda:99")


def test_codes_of_a_loaded_sae_are_plain_tensors_and_embeddings_may_still_have_a_gradient(make_cfg, tmp_path):
    save_sae(sae_classes["topk"](make_cfg()), tmp_path)
    sae = load_sae(tmp_path)
    x = torch.randn(3, sae.act_size)
    assert sae.encode(x).numpy().shape == (3, sae.dict_size)
    assert sae.decode(sae.encode(x)).numpy().shape == x.shape
    sae.encode(x.requires_grad_()).sum().backward()
    assert x.grad is not None and bool(x.grad.any())

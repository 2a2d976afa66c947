from __future__ import annotations

import subprocess
import sys

import pytest
from kedro.config import OmegaConfigLoader

from conftest import ROOT
from sae_kedro import InputError, get_experiment_cfg, post_init_cfg, sae_classes
from sae_kedro.keys import TABLES, ExperimentConfig
from sae_kedro.sae.registry import BUILT_IN
from sae_kedro.validation import Table

SPECIFIED = {"sae_type", "model_name", "dataset_path", "dict_size", "top_k", "lr", "aux_penalty", "input_unit_norm"}
SPECIFIED |= {"device", "wandb_project"}


def test_defaults_hold_every_key_of_the_specification():
    assert set(get_experiment_cfg()) >= SPECIFIED


def test_parameters_yml_equals_the_table():
    loader = OmegaConfigLoader(str(ROOT / "conf"), base_env="base", default_run_env="base")
    assert loader["parameters"] == get_experiment_cfg()


def test_parameters_yml_explains_every_key_in_the_words_of_the_table():
    text = "".join(file.read_text() for file in (ROOT / "conf/base/parameters").iterdir())
    options = {key: field for name in BUILT_IN for key, field in sae_classes[name].Options.model_fields.items()}
    for key, field in (ExperimentConfig.model_fields | options).items():
        line = next(line for line in text.splitlines() if line.startswith(f"{key}:"))
        assert field.description and field.description in line


def test_every_default_is_valid_and_every_field_is_described():
    assert all(field.description for field in ExperimentConfig.model_fields.values())


@pytest.mark.parametrize("sae_type", list(BUILT_IN))
def test_post_init_fills_what_is_derived_and_is_idempotent(sae_type):
    cfg = post_init_cfg(get_experiment_cfg(sae_type=sae_type))
    assert cfg["act_size"] == 384 and cfg["top_k_aux"] == 192 and cfg["lr"] == 3e-3
    assert cfg["device"] in ("cpu", "cuda", "mps") and cfg["name"].startswith(f"{sae_type}-3072-k32")
    assert post_init_cfg(cfg) == cfg


def test_post_init_changes_no_input_and_keeps_what_is_given():
    given = get_experiment_cfg(lr=0.5, act_size=7, top_k_aux=3, name="mine", device="cpu")
    before = dict(given)
    cfg = post_init_cfg(given)
    assert given == before
    assert (cfg["lr"], cfg["act_size"], cfg["top_k_aux"], cfg["name"], cfg["device"]) == (0.5, 7, 3, "mine", "cpu")


def test_an_option_has_its_default_only_for_its_own_variant():
    assert post_init_cfg(get_experiment_cfg(sae_type="jumprelu"))["bandwidth"] == 0.3
    assert post_init_cfg(get_experiment_cfg(sae_type="topk"))["bandwidth"] is None
    assert get_experiment_cfg(sae_type="jumprelu", bandwidth=0.1)["bandwidth"] == 0.1


@pytest.mark.parametrize(
    ("given", "read"), [("16+32", [16, 32]), ("16 + 32", [16, 32]), (16, [16]), ([16, 32], [16, 32])]
)
def test_a_list_may_be_written_with_plus_signs(given, read):
    assert get_experiment_cfg(top_ks=given)["top_ks"] == read


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        ({"top_kk": 3}, "'top_kk' is not a known key; did you mean 'top_k'?"),
        ({"bandwith": 3.0}, "'bandwith' is not a known key; did you mean 'bandwidth'?"),
        ({"sae_type": "jumprelo"}, "sae_type='jumprelo' is not a registered variant; choose one of"),
        ({"top_k": 0}, "top_k=0 is not allowed: it must be a whole number of at least 1"),
        ({"top_k": -1}, "top_k=-1 is not allowed"),
        ({"top_k": 5000}, "top_k=5000 is larger than dict_size=3072; choose at most 3072"),
        ({"top_k": True}, "top_k=True is not allowed"),
        ({"dict_size": "3072"}, "dict_size='3072' is not allowed: it must be a whole number of at least 1"),
        ({"batch_size": 1.5}, "batch_size=1.5 is not allowed"),
        ({"num_examples": 0}, "num_examples=0 is not allowed: it must be a whole number of at least 1 or null"),
        ({"lr": "fast"}, "lr='fast' is not allowed: it must be a number above 0 or null"),
        ({"lr": float("nan")}, "lr=nan is not allowed"),
        ({"lr": float("inf")}, "lr=inf is not allowed"),
        ({"eval_fraction": 1.5}, "eval_fraction=1.5 is not allowed: it must be a number of at least 0 and at most 1"),
        ({"beta1": 1.0}, "beta1=1.0 is not allowed: it must be a number of at least 0 and below 1"),
        (
            {"wandb_mode": "ofline"},
            "it must be one of auto, online, offline, disabled",
        ),
        ({"wandb_mode": "ofline"}, "did you mean 'offline'?"),
        ({"dataset_path": ""}, "dataset_path='' is not allowed: it must be a text that is not empty"),
        ({"input_unit_norm": "yes"}, "input_unit_norm='yes' is not allowed: it must be true or false"),
        ({"bandwidth": 0.1}, "bandwidth=0.1 is an option of sae_type='jumprelu', but sae_type is 'topk'"),
        ({"top_ks": []}, "top_ks=[] is not allowed: it must be a list that is not empty"),
        ({"top_ks": [4, 0]}, "top_ks cannot hold 0: each entry must be a whole number of at least 1"),
        ({"sae_types": [True]}, "sae_types cannot hold True: each entry must be a text"),
        ({"sae_type": "jumprelu", "bandwidth": 0.0}, "bandwidth=0.0 is not allowed: it must be a number above 0"),
    ],
)
def test_bad_values_are_refused_in_one_sentence(overrides, sentence):
    with pytest.raises(InputError) as caught:
        get_experiment_cfg(**overrides)
    assert sentence in str(caught.value) and "\n" not in str(caught.value)


def test_a_whole_number_may_be_written_as_a_float():
    cfg = get_experiment_cfg(num_examples=1e5, top_k=32.0, lr=1.0, top_ks="16+32")
    assert (cfg["num_examples"], cfg["top_k"], cfg["lr"]) == (100_000, 32, 1.0)
    assert [type(cfg[key]) for key in ("num_examples", "top_k", "lr")] == [int, int, float]
    with pytest.raises(InputError, match=r"num_examples=.* is too large"):
        get_experiment_cfg(num_examples=1e300)


def test_a_device_that_is_not_there_is_refused_with_those_that_are():
    with pytest.raises(InputError, match="device='cuda:99' is not available on this machine; choose auto"):
        post_init_cfg(get_experiment_cfg(device="cuda:99"))


def test_importing_the_package_and_refusing_a_core_key_load_no_torch():
    script = (
        "import sys, sae_kedro\n"
        "try:\n    sae_kedro.get_experiment_cfg(top_k=0)\n"
        "except sae_kedro.InputError:\n    print('torch' in sys.modules, 'transformers' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False", "False"]


def test_tables_of_keys_share_no_name():
    """They become one class, in which a validator would silently take the place of another of its name."""
    own = [{*vars(table)} - {*vars(Table)} | {*table.model_fields} for table in TABLES.values()]
    own = [{name for name in names if not name.startswith(("__", "_abc"))} for names in own]
    assert sum(map(len, own)) == len(set().union(*own)) and "_listed" in set().union(*own)

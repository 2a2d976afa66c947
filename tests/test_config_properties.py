"""Configurations made up by a machine: valid ones train, invalid ones end in one sentence that names the key."""

from __future__ import annotations

import json
import os
import string
from typing import Any, Literal, get_args, get_origin

import pytest
import torch
from annotated_types import Ge, Gt, Le, Lt, MinLen
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from conftest import TensorStore
from sae_kedro import InputError, post_init_cfg, sae_classes, train
from sae_kedro.comparison.grid import comparison_cfgs
from sae_kedro.keys import ExperimentConfig
from sae_kedro.sae.registry import BUILT_IN
from sae_kedro.validation import LARGEST_INT

pytestmark = pytest.mark.usefixtures("plugins_listed_once")

COMMON = settings(deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
LONG = settings(COMMON, max_examples=int(os.environ.get("FUZZ_EXAMPLES", "2000")))
SHORT = settings(COMMON, derandomize=True, database=None)

OPTIONS = {name: sae_classes[name].Options.model_fields for name in BUILT_IN}
FIELDS = ExperimentConfig.model_fields | {key: field for own in OPTIONS.values() for key, field in own.items()}
OF_THE_MACHINE = {"device": "cpu", "wandb_mode": "disabled", "n_epochs": 1}

TEXTS = st.text(max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS | st.just("x" * 10**5) | st.just(10**4200),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=10,
)
WORDS = st.text(string.ascii_lowercase + "_", min_size=1, max_size=20)


def kinds(field):
    """Return the field's own types, and whether it takes null."""
    parts = get_args(field.annotation) if get_origin(field.annotation) not in (None, list, dict, Literal) else ()
    parts = parts or (field.annotation,)
    return [part for part in parts if part is not type(None)], type(None) in parts


def bounds(field):
    found = {type(limit): limit for limit in field.metadata}
    low = found[Ge].ge if Ge in found else found[Gt].gt if Gt in found else None
    high = found[Le].le if Le in found else found[Lt].lt if Lt in found else None
    return low, high, Gt in found, Lt in found


def right(field):
    """Draw values that a key takes, of a size that a test can bear."""
    (kind,), optional = kinds(field)
    low, high, above, below = bounds(field)
    if get_origin(kind) is Literal:
        values = st.sampled_from(get_args(kind))
    elif kind is bool:
        values = st.booleans()
    elif kind is int:
        values = st.integers(low, 40)
    elif kind is float:
        values = st.floats(low + 1e-3 if above else low, min(1.0, high or 1.0) - (1e-3 if below else 0.0))
    elif get_origin(kind) is list:
        values = st.lists(WORDS, min_size=1, max_size=3)
    elif field is FIELDS["name"]:
        values = st.from_regex(r"[A-Za-z0-9_][\w.+-]{0,20}", fullmatch=True, alphabet=st.characters(codec="ascii"))
    elif field is FIELDS["llm_base_url"]:
        values = st.from_regex(r"https?://[a-z]{1,10}(\.[a-z]{1,5})?(:[1-9][0-9]{0,3})?(/v1)?", fullmatch=True)
    else:
        assert kind is str
        values = st.text(
            st.characters(codec="utf-8", exclude_characters="/\\#?%:"), min_size=1, max_size=10
        )  # none that W&B refuses
    return st.none() | values if optional else values


def wrong(field):
    """Draw values that a key cannot take: of another type, or out of bounds."""
    (kind,), optional = kinds(field)
    low, high, above, below = bounds(field)
    objects = st.dictionaries(TEXTS, JSON, max_size=2)
    if get_origin(kind) is Literal:
        values = TEXTS.filter(lambda text: text not in get_args(kind)) | st.integers() | st.lists(JSON, max_size=2)
    elif kind is bool:
        values = st.integers() | TEXTS | st.floats() | st.lists(JSON, max_size=2)
    elif kind is int:
        values = st.integers(max_value=low - 1) | st.integers(LARGEST_INT + 1) | st.booleans() | TEXTS
        values |= st.floats().filter(lambda number: not number.is_integer())  # 3.0 is a whole number
    elif kind is float:
        values = st.sampled_from([float("nan"), float("inf"), -float("inf")]) | st.booleans() | TEXTS | st.lists(JSON)
        values |= st.floats(max_value=low, exclude_max=not above, allow_nan=False)
        if high is not None:
            values |= st.floats(min_value=high, exclude_min=not below, allow_nan=False)
    elif get_origin(kind) is list:
        values = st.just([]) | st.lists(st.booleans() | st.floats() | st.none(), min_size=1, max_size=3)
    elif get_origin(kind) is dict:
        texts = TEXTS.filter(lambda text: not {*":="} & {*text})
        return st.none() | st.integers() | st.floats() | st.lists(JSON) | texts
    else:
        assert kind is str
        values = st.integers() | st.floats() | st.booleans() | st.lists(JSON, max_size=2)
        if any(isinstance(limit, MinLen) for limit in field.metadata):
            values |= st.just("")
    return values | objects if optional else values | objects | st.none()


@st.composite
def valid_cfgs(draw):
    """Draw a whole configuration with sizes that train in a moment."""
    sae_type = draw(st.sampled_from(list(BUILT_IN)))
    fields = {key: field for key, field in FIELDS.items() if key in ExperimentConfig.model_fields | OPTIONS[sae_type]}
    left_out = {"sae_type", "sae_types", "top_ks", "sweep", "act_size", "dict_size", "top_k", *OF_THE_MACHINE}
    cfg = {key: draw(right(field)) for key, field in fields.items() if key not in left_out and draw(st.booleans())}
    dict_size = draw(st.integers(1, 64))
    sizes = {"act_size": draw(st.integers(2, 16)), "dict_size": dict_size, "top_k": draw(st.integers(1, dict_size))}
    return cfg | sizes | OF_THE_MACHINE | {"sae_type": sae_type}


def refusal(function, *args: Any) -> str:
    with pytest.raises(InputError) as caught:
        function(*args)
    said = str(caught.value)
    assert said.strip() and len(said.splitlines()) == 1 and len(said) < 2000
    said.encode()  # it can be printed
    return said


def check_valid(given_cfg):
    cfg = post_init_cfg(given_cfg)
    assert post_init_cfg(cfg) == cfg
    assert json.loads(json.dumps(cfg)) == cfg
    assert all(cfg[key] == value for key, value in given_cfg.items() if value is not None)
    generator = torch.Generator().manual_seed(0)
    data = torch.randn(2 * cfg["batch_size"], cfg["act_size"], generator=generator)
    sae = train(sae_classes[cfg["sae_type"]](cfg), TensorStore(data, cfg), cfg)
    assert sae.cfg["training"]["n_steps"] == 2
    assert all(tensor.isfinite().all() for tensor in sae.state_dict().values())
    assert sae.encode(data).isfinite().all()


def check_wrong(data):
    key = data.draw(st.sampled_from(sorted(FIELDS)))
    cfg: dict[str, Any] = {"act_size": 16, "device": "cpu"}
    cfg["sae_type"] = next((name for name, own in OPTIONS.items() if key in own), "topk")
    value = data.draw(wrong(FIELDS[key]))
    assume(value is not None or key in ExperimentConfig.model_fields)  # null is the default of any option
    assert refusal(post_init_cfg, cfg | {key: value}).startswith(key)


def check_misspelt(data):
    key = data.draw(st.sampled_from(sorted(FIELDS)))
    place = data.draw(st.integers(0, len(key) - 1))
    word = data.draw(WORDS.map(lambda new: key[:place] + new[:1] + key[place + 1 :]) | WORDS | TEXTS)
    assume(word not in FIELDS)
    said = refusal(post_init_cfg, {"act_size": 16, "device": "cpu", word: data.draw(JSON)})
    assert said.startswith(f"{word!r} is not a known key")


def check_any(content):
    try:
        cfg = post_init_cfg({"act_size": 16, "device": "cpu"} | content)
    except InputError:
        refusal(post_init_cfg, {"act_size": 16, "device": "cpu"} | content)
    else:
        assert post_init_cfg(cfg) == cfg
    try:
        assert comparison_cfgs({"act_size": 16, "device": "cpu", "sae_types": ["topk"]} | content)
    except InputError as error:
        assert len(str(error).splitlines()) == 1


ANY = st.dictionaries(st.sampled_from(sorted(FIELDS)) | WORDS | TEXTS, JSON, max_size=5)


@given(valid_cfgs())
@settings(SHORT, max_examples=150)
def test_a_valid_configuration_trains(cfg):
    check_valid(cfg)


@given(st.data())
@settings(SHORT, max_examples=400)
def test_a_wrong_value_is_refused_by_the_name_of_its_key(data):
    check_wrong(data)


@given(st.data())
@settings(SHORT, max_examples=200)
def test_a_misspelt_key_is_refused_by_its_name(data):
    check_misspelt(data)


@given(ANY)
@settings(SHORT, max_examples=200)
def test_any_object_is_a_configuration_or_refused(content):
    check_any(content)


@pytest.mark.parametrize("sae_type", BUILT_IN)
@pytest.mark.parametrize(("owner", "key"), [(name, key) for name, own in OPTIONS.items() for key in own])
def test_an_option_of_another_variant_is_refused(sae_type, owner, key):
    cfg = {"act_size": 16, "device": "cpu", "sae_type": sae_type, key: 0.5}
    if sae_type == owner:
        assert post_init_cfg(cfg)[key] == 0.5
    else:
        assert refusal(post_init_cfg, cfg).startswith(f"{key}=0.5 is an option of sae_type={owner!r}, but sae_type is")


@pytest.mark.fuzz
@given(valid_cfgs())
@LONG
def test_many_valid_configurations_train(cfg):
    check_valid(cfg)


@pytest.mark.fuzz
@given(st.data())
@LONG
def test_many_wrong_values_are_refused(data):
    check_wrong(data)


@pytest.mark.fuzz
@given(st.data())
@LONG
def test_many_misspelt_keys_are_refused(data):
    check_misspelt(data)


@pytest.mark.fuzz
@given(ANY)
@LONG
def test_many_objects_are_configurations_or_refused(content):
    check_any(content)

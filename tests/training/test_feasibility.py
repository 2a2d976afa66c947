from __future__ import annotations

import pytest

from sae_kedro import InputError, get_experiment_cfg, post_init_cfg
from sae_kedro.training import feasibility
from sae_kedro.training.feasibility import check_training_memory

# 3,072 latents of 384 + 384 weights, four float32 each, and 512 rows of pre-activations: 3,072 * 4 * (4 * 768 + 512)
DEFAULT = 44_040_192


@pytest.fixture
def check(monkeypatch):
    def run(available, **overrides):
        monkeypatch.setattr(feasibility, "available_memory", lambda device: available)
        check_training_memory(post_init_cfg(get_experiment_cfg(act_size=384, device="cpu", **overrides)))

    return run


def refusal(check, available, **overrides):
    with pytest.raises(InputError) as caught:
        check(available, **overrides)
    return str(caught.value)


def test_what_just_fits_is_allowed_and_one_byte_less_is_not(check):
    check(DEFAULT)
    assert refusal(check, DEFAULT - 1) == (
        "dict_size=3072 needs 42.0 MiB of memory to train, and 42.0 MiB are available; choose at most 3071"
    )


def test_the_value_that_is_named_fits_and_the_next_does_not(check):
    said = refusal(check, 10**9, dict_size=10**8)
    assert said.startswith("dict_size=100000000 needs 1,335.1 GiB of memory to train, and 953.7 MiB are available; ")
    fits = int(said.split()[-1])
    check(10**9, dict_size=fits)
    refusal(check, 10**9, dict_size=fits + 1)


def test_a_batch_that_is_too_large_is_named_instead(check):
    said = refusal(check, 10**9, batch_size=10**6, num_examples=None)
    assert said.startswith("batch_size=1000000 needs 11.5 GiB of memory to train")
    fits = int(said.split()[-1])
    check(10**9, batch_size=fits, num_examples=None)
    refusal(check, 10**9, batch_size=fits + 1, num_examples=None)


def test_a_batch_is_no_larger_than_the_corpus(check):
    check(DEFAULT, batch_size=10**9, num_examples=512)


def test_nothing_is_refused_where_memory_is_unknown(check):
    check(None, dict_size=10**15)

import pytest
import torch
from sae_kedro_matryoshka import MatryoshkaSAE

from sae_kedro import InputError
from sae_kedro.sae import Codes, Forward, Support
from sae_kedro.testing import check_sae


def test_contract():
    check_sae(MatryoshkaSAE)


def build(**options):
    return MatryoshkaSAE({"act_size": 2, "dict_size": 4, "top_k": 1, "prefixes": [0.5, 1.0]} | options)


def test_prefix_losses_are_averaged_once():
    # x = (1, 1), V = 2 elements; latent 0 = (1, 0) with code 1, latent 2 = (0, 1) with code .5
    # prefix of 2: residual (0, 1): 1 / 2; all 4: residual (0, .5): .25 / 2; mean (.5 + .125) / 2 = .3125
    sae = build()
    with torch.no_grad():
        sae.W_dec.copy_(torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]))
    codes = torch.tensor([[1.0, 0.0, 0.5, 0.0]])
    x = torch.tensor([[1.0, 1.0]])
    out = Forward(x, Codes(Support.dense(codes), codes), None, x)
    torch.testing.assert_close(sae.losses(out)["rec"], torch.tensor(0.3125))


@pytest.mark.parametrize(("dict_size", "size"), [(32, 8), (8, 4)])
def test_a_prefix_is_an_sae_of_its_own_with_the_same_first_codes(dict_size, size):
    sae = build(act_size=8, dict_size=dict_size).eval()
    x = torch.randn(100, 8)
    sae.calibrate(x)
    part = sae.prefix(size)
    torch.testing.assert_close(part.encode(x), sae.encode(x)[:, :size])
    assert part(x).x_hat.shape == x.shape


@pytest.mark.parametrize("prefixes", [[0.5], [0.5, 0.25, 1.0], [0.0, 1.0], [0.5, 0.5, 1.0]])
def test_prefixes_must_rise_to_one(prefixes):
    with pytest.raises(InputError, match="must rise from above 0 to 1"):
        build(prefixes=prefixes)

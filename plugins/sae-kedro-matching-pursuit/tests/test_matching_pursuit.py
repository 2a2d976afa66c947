import pytest
import torch
from sae_kedro_matching_pursuit import MatchingPursuitSAE

from sae_kedro.testing import check_sae


def test_contract():
    check_sae(MatchingPursuitSAE)


def build(**sizes):
    return MatchingPursuitSAE({"act_size": 2, "dict_size": 3, "top_k": 2} | sizes)


@pytest.mark.parametrize("training", [True, False])
def test_pursuit_by_hand(training):
    # d = (1,0), (0,1), (.6,.8); x = (3,4): round 1 takes (.6,.8) with code 5 and leaves 0; x = (3,1): scores 3, 1, 2.6:
    # round 1 takes (1,0) with code 3, leaving (0,1): scores 0, 1, .8: round 2 takes (0,1) with code 1
    sae = build().train(training)
    with torch.no_grad():
        sae.W_dec.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]]))
    codes = sae.encode(torch.tensor([[3.0, 4.0], [3.0, 1.0]]))
    torch.testing.assert_close(codes, torch.tensor([[0.0, 0.0, 5.0], [3.0, 1.0, 0.0]]), atol=1e-6, rtol=0)


def test_every_round_lowers_the_error():
    x = torch.randn(200, 16)
    errors = []
    for top_k in (1, 2, 4, 8):
        sae = build(act_size=16, dict_size=64, top_k=top_k).eval()
        errors.append(float((sae(x).x_hat - x).detach().square().sum()))
    assert errors == sorted(errors, reverse=True)


def test_training_and_inference_find_the_same_codes():
    sae = build(act_size=16, dict_size=64, top_k=5).double()
    x = torch.randn(100, 16, dtype=torch.float64)
    torch.testing.assert_close(sae.train().encode(x), sae.eval().encode(x))


def test_gradients_equal_finite_differences():
    sae = build(act_size=6, dict_size=12, top_k=3).double()
    x = torch.randn(4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def loss(W_dec):
        return torch.func.functional_call(sae, {"W_dec": W_dec}, (x,)).x_hat.square().sum()

    assert torch.autograd.gradcheck(loss, (sae.W_dec.detach().clone().requires_grad_(),), eps=1e-7, atol=1e-5)

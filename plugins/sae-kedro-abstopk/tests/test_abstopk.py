import torch
from sae_kedro_abstopk import AbsTopKSAE

from sae_kedro.testing import check_sae


def test_contract():
    check_sae(AbsTopKSAE)


def test_the_largest_magnitudes_keep_their_sign():
    # pi = (-3, 1, 2): the two largest magnitudes are -3 and 2
    sae = AbsTopKSAE({"act_size": 3, "dict_size": 3, "top_k": 2})
    with torch.no_grad():
        sae.W_enc.copy_(torch.eye(3))
    torch.testing.assert_close(sae.encode(torch.tensor([[-3.0, 1.0, 2.0]])), torch.tensor([[-3.0, 0.0, 2.0]]))

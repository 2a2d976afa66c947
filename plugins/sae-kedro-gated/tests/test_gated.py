import math

import torch
from sae_kedro_gated import GatedSAE

from sae_kedro.testing import check_sae


def test_contract():
    check_sae(GatedSAE)


def test_the_gates_own_reconstruction_does_not_train_the_decoder():
    sae = GatedSAE({"act_size": 8, "dict_size": 32, "top_k": 4}).train()
    x = torch.randn(50, 8)
    sae.losses(sae.run(x))["gate"].backward()
    assert sae.W_dec.grad is None and sae.b_dec.grad.abs().max() > 0  # b_dec through the encoder alone
    assert sae.W_enc.grad.abs().max() > 0 and sae.r_mag.grad is None


def test_magnitudes_by_hand():
    # pi_gate = 2 with b_enc = 1, r_mag = ln 3, b_mag = -1: z = 3 * (2 - 1) - 1 = 2; a closed gate gives 0
    sae = GatedSAE({"act_size": 1, "dict_size": 2, "top_k": 1})
    with torch.no_grad():
        sae.b_enc.fill_(1.0)
        sae.r_mag.fill_(math.log(3))
        sae.b_mag.fill_(-1.0)
    z = sae.activate(torch.tensor([[2.0, -0.5]]), slice(None))
    torch.testing.assert_close(z, torch.tensor([[2.0, 0.0]]))

from __future__ import annotations

import pytest
import torch

from sae_kedro import sae_classes
from sae_kedro.sae.codes import Codes, Support
from sae_kedro.sae.contract import Forward
from sae_kedro.training.dead_latents import DeadLatents, aux_k_loss, window_in_samples
from sae_kedro.training.trainer import Trainer

VARIANTS = ["vanilla", "topk", "batchtopk", "jumprelu"]


def test_counter_counts_samples_and_resets_on_firing():
    counter = DeadLatents(3, window=8)
    counter.update(torch.tensor([2, 0, 1]), n=4)
    assert counter.silent_for.tolist() == [0, 4, 0]
    counter.update(torch.tensor([0, 0, 1]), n=4)
    assert counter.silent_for.tolist() == [4, 8, 0] and counter.indices().tolist() == [1]


def test_window_is_a_share_of_an_epoch():
    assert window_in_samples(0.5, 1000) == 500
    assert window_in_samples(1e-9, 10) == 1


def toy(W_dec, W_enc=None, b_dec=0.0):
    """A 2-d SAE with the given decoder rows and a forward pass to put numbers into."""
    rows = torch.tensor(W_dec)
    sae = sae_classes["topk"]({"act_size": 2, "dict_size": len(rows), "top_k": 1})
    with torch.no_grad():
        sae.W_dec.copy_(rows)
        sae.W_enc.copy_(rows.t() if W_enc is None else torch.tensor(W_enc))
        sae.b_dec.fill_(b_dec)
    return sae


def out_of(x, x_hat):
    return Forward(x, Codes(Support.dense(x[:, :1]), x[:, :1]), None, x_hat)


def test_dead_latents_are_pulled_towards_the_residual_and_not_away_from_it():
    # e = (0,1), dead row (0,1), its code z' = .5: loss (.5 - 1)^2 / |e|^2, and d/dz' = -1
    sae = toy([[1.0, 0.0], [0.0, 1.0]], W_enc=[[0.0, 0.0], [0.0, 0.5]])
    x = torch.tensor([[0.0, 1.0]])
    loss = aux_k_loss(sae, out_of(x, torch.zeros(1, 2)), torch.tensor([1]), k_aux=1)
    assert loss.item() == pytest.approx(0.25)
    loss.backward()
    # z' = x . w: dL/dw = -1 * x = (0, -1) for the dead latent, nothing for the live one
    torch.testing.assert_close(sae.W_enc.grad, torch.tensor([[0.0, 0.0], [0.0, -1.0]]))


def test_the_decoder_bias_is_not_added_to_what_dead_latents_explain():
    # z' W_dec = (0, 2) equals the residual although b_dec = (5, 5)
    sae = toy([[1.0, 0.0], [0.0, 1.0]], W_enc=[[0.0, 0.0], [0.0, 1.0]], b_dec=5.0)
    x = torch.tensor([[5.0, 7.0]])
    assert aux_k_loss(sae, out_of(x, torch.tensor([[5.0, 5.0]])), torch.tensor([1]), 1).item() == 0


def test_negative_pre_activations_explain_nothing_and_learn_nothing():
    sae = toy([[1.0, 0.0], [0.0, 1.0]], W_enc=[[0.0, 0.0], [0.0, -1.0]])
    x = torch.tensor([[0.0, 1.0]])
    loss = aux_k_loss(sae, out_of(x, torch.zeros(1, 2)), torch.tensor([1]), 1)
    assert loss.item() == 1
    loss.backward()
    assert sae.W_enc.grad.abs().max() == 0 and sae.W_dec.grad.abs().max() == 0


@pytest.mark.parametrize("sae_type", VARIANTS)
def test_live_latents_get_no_gradient_and_dead_ones_that_of_a_dense_float64_reference(sae_type, make_cfg):
    sae = sae_classes[sae_type](make_cfg(sae_type=sae_type)).double().train()
    x = torch.randn(30, 16, dtype=torch.float64)
    out = sae.run(x)
    dead = torch.tensor([3, 10, 11, 40, 63])
    aux_k_loss(sae, out, dead, k_aux=2).backward()
    live = torch.ones(64, dtype=torch.bool).index_fill(0, dead, False)
    assert sae.W_dec.grad[live].abs().max() == 0 and sae.W_enc.grad[:, live].abs().max() == 0

    W_enc, W_dec = (weights.detach().clone().requires_grad_() for weights in (sae.W_enc, sae.W_dec))
    residual = (x - out.x_hat).detach()
    masked = torch.full((30, 64), -torch.inf, dtype=torch.float64).index_copy(1, dead, (x @ W_enc)[:, dead])
    top = masked.topk(2, dim=1)
    z = torch.zeros_like(masked).scatter(1, top.indices, top.values.relu())
    spread = (residual - residual.mean(0)).square().sum()
    ((z @ W_dec - residual).square().sum() / spread).backward()
    torch.testing.assert_close(sae.W_enc.grad, W_enc.grad)
    torch.testing.assert_close(sae.W_dec.grad, W_dec.grad)


def test_a_batch_of_one_text_has_a_finite_loss():
    sae = toy([[1.0, 0.0], [0.0, 1.0]])
    x = torch.tensor([[0.3, 1.0]])
    assert torch.isfinite(aux_k_loss(sae, out_of(x, x), torch.tensor([1]), 1))


def test_without_dead_latents_the_total_is_the_reconstruction_loss_bit_for_bit(make_cfg):
    cfg = make_cfg()
    metrics = Trainer(sae_classes["topk"](cfg), cfg, n_train=1000, n_steps=10).step(torch.randn(32, 16))
    assert set(metrics.losses) == {"rec", "loss"} and torch.equal(metrics.losses["loss"], metrics.losses["rec"])


def test_descending_aux_k_lets_dead_latents_explain_the_residual(make_cfg):
    sae = sae_classes["topk"](make_cfg()).train()
    x = torch.randn(200, 16)
    out = sae.run(x)
    out = out._replace(x_hat=out.x_hat.detach())
    dead = torch.arange(10)
    optimizer = torch.optim.Adam(sae.parameters(), lr=1e-2)
    losses = []
    for _ in range(50):
        optimizer.zero_grad()
        loss = aux_k_loss(sae, out, dead, k_aux=8)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0] and losses[-1] < 1


def test_training_with_dead_latents_adds_the_weighted_aux_term(make_cfg):
    cfg = make_cfg(aux_penalty=0.25)
    sae = sae_classes["topk"](cfg)
    trainer = Trainer(sae, cfg, n_train=1000, n_steps=10)
    trainer.dead_latents.silent_for[:10] = 500  # half an epoch
    metrics = trainer.step(torch.randn(32, 16))
    assert metrics.n_dead == 10 and metrics.losses["aux"] > 0
    torch.testing.assert_close(metrics.losses["loss"], metrics.losses["rec"] + metrics.losses["aux"])


def test_vanilla_latents_that_no_loss_can_reach_come_back_to_life(make_cfg):
    # below -4, ReLU is 0 on every text, so neither loss nor AuxK has a gradient for these latents
    cfg = make_cfg(sae_type="vanilla")
    sae = sae_classes["vanilla"](cfg)
    trainer = Trainer(sae, cfg, n_train=128, n_steps=500)
    with torch.no_grad():
        sae.b_enc[:10] = -8.0
    trainer.step(torch.randn(64, 16))
    assert sae.b_enc[:10].tolist() == [-8.0] * 10
    for _ in range(400):
        trainer.step(torch.randn(64, 16))
    assert (sae.b_enc[:10] > -8 + 200 * 0.015).all()
    assert (trainer.firing_counts[:10] > 0).sum() >= 9

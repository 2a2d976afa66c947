"""Gradients of the sparse training step against dense float64 references."""

from __future__ import annotations

import pytest
import torch

from sae import references
from sae_kedro import sae_classes
from sae_kedro.sae import codes as codes_module
from sae_kedro.sae import ops
from sae_kedro.sae.codes import Codes, Support

VARIANTS = ["vanilla", "topk", "batchtopk", "jumprelu"]


def trained_a_little(sae_type, make_cfg, **overrides):
    """An SAE in float64 whose parameters are generic: no zero biases, no tied weights."""
    sae = sae_classes[sae_type](make_cfg(sae_type=sae_type, **overrides)).double().train()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, weights in sae.named_parameters():
            noise = torch.randn(weights.shape, generator=generator, dtype=torch.float64)
            weights.add_(0.1 * noise)
            if name == "threshold":
                weights.copy_(0.5 + 0.2 * noise.abs())
    return sae


def gradients(sae, x):
    out = sae.run(x)
    loss = (out.x_hat - x).square().sum() / x.numel() + sum(sae.losses(out).values(), torch.zeros(()))
    loss.backward()
    return loss, {name: weights.grad for name, weights in sae.named_parameters()}


@pytest.mark.parametrize("dense_above", [0.0, 1.0], ids=["dense", "sparse"])
@pytest.mark.parametrize("sae_type", VARIANTS)
def test_gradients_equal_a_dense_float64_reference(sae_type, dense_above, make_cfg, monkeypatch):
    monkeypatch.setattr(codes_module, "DENSE_ABOVE", dense_above)
    sae = trained_a_little(sae_type, make_cfg)
    x = torch.randn(50, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    loss, found = gradients(sae, x)
    expected = references.parameters(sae)
    reference = getattr(references, sae_type)(sae, x, expected)
    reference.backward()
    torch.testing.assert_close(loss, reference, rtol=1e-12, atol=1e-12)
    for name, weights in expected.items():
        assert weights.grad.abs().max() > 1e-6, f"the reference itself has no gradient for {name}"
        torch.testing.assert_close(found[name], weights.grad, rtol=1e-10, atol=1e-12, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("n", [1, 2, 33])
@pytest.mark.parametrize("top_k", [1, 7, 64])
@pytest.mark.parametrize("sae_type", ["topk", "batchtopk"])
def test_gradients_hold_for_extreme_shapes_and_too_few_positives(sae_type, top_k, n, make_cfg):
    sae = trained_a_little(sae_type, make_cfg, top_k=top_k)
    with torch.no_grad():
        sae.b_enc -= 1.0  # most pre-activations are negative, so fewer than k can fire
    x = torch.randn(n, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    x[-1] = x[0]
    _, found = gradients(sae, x)
    expected = references.parameters(sae)
    getattr(references, sae_type)(sae, x, expected).backward()
    for name, weights in expected.items():
        torch.testing.assert_close(found[name], weights.grad, rtol=1e-10, atol=1e-12, msg=lambda m, n=name: f"{n}: {m}")


def test_all_negative_pre_activations_give_zero_codes_and_only_a_bias_gradient(make_cfg):
    sae = trained_a_little("topk", make_cfg)
    with torch.no_grad():
        sae.b_enc -= 1000.0
    x = torch.randn(5, 16, dtype=torch.float64)
    _, found = gradients(sae, x)
    assert sae.run(x).codes.firing_counts().sum() == 0
    assert all(found[name].abs().max() == 0 for name in ("W_enc", "b_enc", "W_dec"))
    torch.testing.assert_close(found["b_dec"], 2 * (sae.b_dec - x).sum(0).detach() / x.numel())


def test_worked_example_by_hand():
    # d1, d2, d3 = (1,0), (0,1), (.6,.8); W_enc = [[1,0,1],[0,1,1]]; x = (3,1), k = 2, squared error without a mean:
    # pi = (3,1,4), z = (3,0,4), x_hat = (5.4,3.2), loss 10.6, g = (4.8,4.4), h = (4.8, -, 6.4)
    W_dec = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]], requires_grad=True)
    W_enc = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]], requires_grad=True)
    b_enc, b_dec = torch.zeros(3, requires_grad=True), torch.zeros(2, requires_grad=True)
    x = torch.tensor([[3.0, 1.0]])
    pi = x @ W_enc.detach()
    support = Support.from_indices(pi.topk(2).indices, 3)
    values = ops.with_encoder_gradient(x, (W_enc, b_enc, b_dec), support.gather(pi), support).relu()
    x_hat = ops.decode(Codes(support, values), W_dec)
    torch.testing.assert_close(x_hat, torch.tensor([[5.4, 3.2]]))
    loss = (x_hat - x).square().sum()
    loss.backward()
    torch.testing.assert_close(loss, torch.tensor(10.6))
    torch.testing.assert_close(W_dec.grad, torch.tensor([[14.4, 13.2], [0.0, 0.0], [19.2, 17.6]]))
    torch.testing.assert_close(W_enc.grad, torch.tensor([[14.4, 0.0, 19.2], [4.8, 0.0, 6.4]]))
    torch.testing.assert_close(b_enc.grad, torch.tensor([4.8, 0.0, 6.4]))


def test_gradient_reaches_the_input(make_cfg):
    sae = trained_a_little("topk", make_cfg)
    x = torch.randn(3, 16, dtype=torch.float64, requires_grad=True)
    sae.eval()
    assert torch.autograd.gradcheck(lambda rows: sae(rows).x_hat, (x,), eps=1e-7, atol=1e-6)


def test_encoder_gradient_has_the_layout_of_its_parameter(make_cfg):
    sae = trained_a_little("topk", make_cfg)
    _, found = gradients(sae, torch.randn(40, 16, dtype=torch.float64))
    assert found["W_enc"].stride() == sae.W_enc.stride() == (1, 16)


def test_the_reused_buffer_does_not_change_results_from_step_to_step(make_cfg):
    sae = trained_a_little("topk", make_cfg)
    x, y = torch.randn(2, 20, 16, dtype=torch.float64)
    first = sae.run(x).codes.to_dense()
    sae.run(y)
    sae.run(y[:3])
    assert torch.equal(sae.run(x).codes.to_dense(), first)

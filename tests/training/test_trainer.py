from __future__ import annotations

import logging

import pytest
import torch

from conftest import TensorStore
from sae_kedro import InputError, evaluate, sae_classes, train
from sae_kedro.sae.base import SAE
from sae_kedro.sae.codes import Support
from sae_kedro.training.coordinates import Coordinates
from sae_kedro.training.tracking import Tracker
from sae_kedro.training.trainer import TIE_EVERY, Trainer

VARIANTS = ["vanilla", "topk", "batchtopk", "jumprelu"]


def run(cfg, data, held_out=0, **kwargs):
    return train(sae_classes[cfg["sae_type"]](cfg), TensorStore(data, cfg, held_out), cfg, **kwargs)


@pytest.mark.parametrize("sae_type", VARIANTS)
def test_training_lowers_the_loss_and_reconstructs_unseen_data(sae_type, make_cfg, sparse_data):
    cfg = make_cfg(sae_type=sae_type, n_epochs=20, log_every=10)
    tracker = Tracker(cfg)
    data = sparse_data(3000)
    sae = run(cfg, data, held_out=500, tracker=tracker)
    assert tracker.history[-1]["fvu"] < 0.7 * tracker.history[0]["fvu"]
    assert evaluate(sae, TensorStore(data, cfg, 500)).metrics["fvu"] < 0.35


@pytest.mark.parametrize("sae_type", VARIANTS)
def test_same_seed_same_weights_bit_for_bit(sae_type, make_cfg, sparse_data):
    cfg, data = make_cfg(sae_type=sae_type), sparse_data(500)
    one, two = run(cfg, data), run(cfg, data)
    assert all(torch.equal(one.state_dict()[name], tensor) for name, tensor in two.state_dict().items())


def test_every_variant_is_trained_by_the_same_code_a_new_one_too(make_cfg, sparse_data):
    class Relu(SAE):
        def select(self, pre_acts):
            return Support.from_mask(pre_acts > 0.5)

    cfg, data = make_cfg(n_epochs=10), sparse_data(1000)
    sae = train(Relu(cfg), TensorStore(data, cfg), cfg)
    x = sae.normalise(data)[0]
    assert (sae.run(x).x_hat - x).square().mean().item() < 0.5


def test_products_have_the_precision_asked_for_in_training_and_the_former_one_afterwards(make_cfg, sparse_data):
    seen = {}

    class Watching(sae_classes["batchtopk"]):
        def after_step(self, progress):
            seen["training"] = torch.get_float32_matmul_precision()

        def calibrate(self, x):
            seen["calibration"] = torch.get_float32_matmul_precision()
            super().calibrate(x)

    cfg = make_cfg(sae_type="batchtopk", matmul_precision="high", n_epochs=1)
    train(Watching(cfg), TensorStore(sparse_data(300), cfg), cfg)
    assert seen == {"training": "high", "calibration": "highest"}


def test_decoder_rows_have_unit_norm_after_and_orthogonal_gradients_before_each_step(make_cfg):
    cfg = make_cfg()
    sae = sae_classes["topk"](cfg)
    trainer = Trainer(sae, cfg, 1000, 10)
    dots = []
    before_step = trainer.optimizer.step
    trainer.optimizer.step = lambda: (dots.append((sae.W_dec.grad * sae.W_dec).sum(1).abs().max()), before_step())
    for _ in range(5):
        trainer.step(torch.randn(32, 16))
        assert (sae.W_dec.norm(dim=1) - 1).abs().max() < 1e-6
    assert max(dots) < 1e-6


def test_projection_and_renormalisation_by_hand(make_cfg):
    # w = (1,0), g = (3,4): the radial part is removed, so SGD with rate .1 goes to (1, -.4), then to unit norm
    sae = sae_classes["topk"]({"act_size": 2, "dict_size": 1, "top_k": 1})
    with torch.no_grad():
        sae.W_dec.copy_(torch.tensor([[1.0, 0.0]]))
    sae.W_dec.grad = torch.tensor([[3.0, 4.0]])
    sae.project_decoder_gradient()
    torch.optim.SGD([sae.W_dec], lr=0.1).step()
    sae.normalise_decoder()
    torch.testing.assert_close(sae.W_dec.detach(), torch.tensor([[0.9285, -0.3714]]), atol=1e-4, rtol=0)


def test_gradients_are_clipped_to_the_global_norm_but_not_those_of_thresholds(make_cfg):
    cfg = make_cfg(sae_type="jumprelu", max_grad_norm=1e-3)
    sae = sae_classes["jumprelu"](cfg)
    x = torch.randn(500, 16)
    sae.prepare(x)
    with torch.no_grad():
        sae.threshold -= 0.5
    Trainer(sae, cfg, 1000, 10).step(x)
    clipped = [sae.W_enc.grad, sae.b_enc.grad, sae.W_dec.grad, sae.b_dec.grad]
    assert float(torch.cat([grad.flatten() for grad in clipped]).norm()) == pytest.approx(1e-3, rel=1e-3)
    assert float(sae.threshold.grad.norm()) > 1e-2


def test_a_step_is_that_of_adam_on_the_parameters_as_they_are(make_cfg, sparse_data):
    """The optimiser sees vectors that share the parameters' memory; nothing else about Adam may change."""
    cfg = make_cfg(encoder_tie=0.0, lr_warmup=0.0, lr_decay=0.0, max_grad_norm=1e9, aux_penalty=0.0)
    x = sparse_data(64)
    sae, twin = sae_classes["topk"](cfg).train(), sae_classes["topk"](cfg).train()
    rates = {"W_enc": cfg["lr"], "W_dec": 2 * cfg["lr"], "b_enc": 5 * cfg["lr"], "b_dec": 5 * cfg["lr"]}
    groups = [{"params": [weights], "lr": rates[name]} for name, weights in twin.named_parameters()]
    adam = torch.optim.Adam(groups, betas=(cfg["beta1"], cfg["beta2"]))
    trainer = Trainer(sae, cfg, 1000, 1200)
    for _ in range(3):
        trainer.step(x)
        out = twin.run(twin.normalise(x)[0])
        adam.zero_grad()
        ((out.x_hat - out.x).square().sum() / x.numel()).backward()
        twin.project_decoder_gradient()
        adam.step()
        twin.normalise_decoder()
    for name, weights in sae.named_parameters():
        torch.testing.assert_close(weights, twin.get_parameter(name), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("n_steps", "faster"), [(1, 1.5), (533, 1.5), (600, 2**0.5), (1199, 1.0004), (5000, 1.0)])
def test_directions_learn_faster_in_short_runs_and_biases_do_not(n_steps, faster, make_cfg):
    sae = sae_classes["jumprelu"](make_cfg())
    trainer = Trainer(sae, make_cfg(), 1000, n_steps)
    names = [name for name, _ in sae.named_parameters()]
    found = {name: group["multiplier"] for name, group in zip(names, trainer.optimizer.param_groups, strict=True)}
    expected = {"W_enc": faster, "W_dec": 2 * faster, "b_enc": 5.0, "b_dec": 5.0, "threshold": 0.1}
    assert found == pytest.approx(expected, rel=1e-3)


def test_coordinates_are_independent_where_texts_are_many_and_stay_where_they_are_few(sparse_data):
    x = sparse_data(3000) @ torch.randn(16, 16)
    covariance = x.t() @ x / 3000
    few, many = Coordinates.of(x, 16 * 256 - 1), Coordinates.of(x, 16 * 256)
    assert torch.equal(few.rotation, torch.eye(16))
    torch.testing.assert_close(many.rotation.t() @ many.rotation, torch.eye(16), rtol=0, atol=1e-5)
    for rotation, matched in (few, many):
        turned = rotation.t() @ covariance @ rotation
        torch.testing.assert_close(matched @ (turned + torch.eye(16)), torch.eye(16), rtol=0, atol=1e-4)
    torch.testing.assert_close(many.matched, many.matched.diag().diag(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("n_train", [1000, 5000])
def test_training_ends_in_the_coordinates_of_embeddings(n_train, make_cfg, sparse_data):
    cfg, data = make_cfg(), sparse_data(1000) * torch.linspace(0.1, 3.0, 16)
    sae = sae_classes["topk"](cfg).train()
    start = sae.W_dec.detach().clone()
    sae.fit_input_scaling([data])
    trainer = Trainer(sae, cfg, n_train, 10, data)
    rotation = trainer.coordinates.rotation
    assert torch.equal(rotation, torch.eye(16)) == (n_train == 1000)
    torch.testing.assert_close(sae.W_dec.detach(), start @ rotation)
    x = sae.normalise(data[:64])[0]
    trainer.step(data[:64])
    out = sae.run(x @ rotation).x_hat
    trainer.close()
    assert (sae.W_dec - start).norm(dim=1).max() < 0.2  # one step away from where it started
    torch.testing.assert_close(sae.run(x).x_hat, out @ rotation.t(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("n_steps", "encoder_tie", "share"),
    [
        (10_000, None, 0.01),  # 2 * lr
        (200, None, 0.05),  # 8 / (200 * .8)
        (100, None, 1 / 12),  # 8 / (100 * .8) is more than the most
        (10, None, 1 / 12),
        (100, 3.0, 0.015),  # 3 * lr
    ],
)
def test_short_runs_are_tied_more_strongly(n_steps, encoder_tie, share, make_cfg, monkeypatch):
    cfg = make_cfg(encoder_tie=encoder_tie, lr=5e-3, lr_warmup=0.1, lr_decay=0.3)
    sae, rates = sae_classes["topk"](cfg).train(), []
    monkeypatch.setattr(type(sae), "tie_encoder", lambda _, rate, matched: rates.append(rate))
    trainer = Trainer(sae, cfg, 1000, n_steps)
    trainer.steps_done = n_steps // 2 + (TIE_EVERY - 1 - n_steps // 2) % TIE_EVERY
    trainer.step(torch.randn(32, 16))
    assert rates == [pytest.approx(TIE_EVERY * share)]


@pytest.mark.parametrize("encoder_tie", [0.0, 1e9])
def test_the_encoder_is_tied_every_few_steps(encoder_tie, make_cfg):
    cfg = make_cfg(encoder_tie=encoder_tie)
    sae = sae_classes["topk"](cfg).train()
    with torch.no_grad():
        sae.W_enc.copy_(torch.randn(sae.W_enc.shape))  # it starts as the decoder's transpose
    trainer = Trainer(sae, cfg, 1000, 100)
    cosines = []
    for _ in range(2 * TIE_EVERY):
        trainer.step(torch.randn(32, 16))
        cosines.append(torch.cosine_similarity(sae.W_enc.t(), sae.W_dec, dim=1).min().item())
    assert max(cosines[: TIE_EVERY - 1]) < 0.9
    assert all((cosines[step - 1] > 1 - 1e-5) == bool(encoder_tie) for step in (TIE_EVERY, 2 * TIE_EVERY))


@pytest.mark.parametrize("n", [1, 5, 31])
def test_fewer_texts_than_one_batch_are_all_used_and_it_is_said(n, make_cfg, sparse_data, caplog):
    data = sparse_data(n)
    with caplog.at_level(logging.WARNING):
        if n == 1:
            with pytest.raises(InputError, match="all 1 training embeddings are the same"):
                run(make_cfg(), data)
            return
        sae = run(make_cfg(), data)
    assert f"Only {n} training texts, fewer than batch_size=32" in caplog.text
    assert sae.cfg["training"]["n_texts"] == n and sae.cfg["training"]["n_steps"] == 2


def test_steps_count_the_partial_last_batch(make_cfg, sparse_data):
    assert run(make_cfg(n_epochs=3), sparse_data(100)).cfg["training"]["n_steps"] == 3 * 4


def test_density_is_that_of_the_last_epoch(make_cfg, sparse_data):
    sae = run(make_cfg(n_epochs=2), sparse_data(320))
    assert float(sae.density.sum()) == pytest.approx(4, rel=1e-5)  # top_k latents per text
    assert sae.density.min() >= 0


def test_a_run_that_learns_nothing_is_said_to(make_cfg, sparse_data, caplog):
    run(make_cfg(lr=100.0), sparse_data(320))
    assert (
        "reconstructs no better than the mean does; lr=100 is probably too high (the default is 0.00075)" in caplog.text
    )

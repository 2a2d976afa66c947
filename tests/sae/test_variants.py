"""What each variant promises, and the mistakes that public implementations make."""

from __future__ import annotations

import math

import pytest
import torch

from conftest import TensorStore
from sae_kedro import InputError, JumpReLUSAE, get_experiment_cfg, load_sae, sae_classes, save_sae, train
from sae_kedro.config import default_lr
from sae_kedro.sae.codes import Codes, Support
from sae_kedro.sae.contract import Progress
from sae_kedro.sae.jumprelu import jump, step
from sae_kedro.sae.levels import exact_level
from sae_kedro.sae.selection import largest_of_batch

VARIANTS = ["vanilla", "topk", "batchtopk", "jumprelu"]


def progress(step, n_steps, l0, dead=()):
    return Progress(step, n_steps, l0, torch.tensor(dead, dtype=torch.long))


def build(sae_type, make_cfg, **overrides):
    return sae_classes[sae_type](make_cfg(sae_type=sae_type, **overrides))


def trained(sae_type, make_cfg, sparse_data, **overrides):
    cfg = make_cfg(sae_type=sae_type, n_epochs=4, **overrides)
    return train(sae_classes[sae_type](cfg), TensorStore(sparse_data(1000), cfg), cfg)


@pytest.mark.parametrize("input_unit_norm", [False, True])
@pytest.mark.parametrize("sae_type", VARIANTS)
def test_codes_of_a_text_are_the_same_alone_in_any_batch_and_after_save_and_load(
    sae_type, input_unit_norm, make_cfg, sparse_data, tmp_path
):
    sae = trained(sae_type, make_cfg, sparse_data, input_unit_norm=input_unit_norm)
    x = sparse_data(200)
    x = x[x.std(dim=1) > 1e-3]  # a constant row has no direction to standardise
    together = sae.encode(x)
    assert together.count_nonzero() > 0
    torch.testing.assert_close(torch.cat([sae.encode(row[None]) for row in x]), together, atol=1e-6, rtol=0)
    torch.testing.assert_close(sae.encode(x.flip(0)).flip(0), together, atol=1e-6, rtol=0)
    save_sae(sae, tmp_path)
    again = load_sae(tmp_path)
    assert type(again) is type(sae)
    torch.testing.assert_close(torch.cat([again.encode(part) for part in x.split(7)]), together, atol=1e-6, rtol=0)
    torch.testing.assert_close(again(x).x_hat, sae.decode(together, like=x), atol=1e-5, rtol=0)


@pytest.mark.parametrize("sae_type", VARIANTS)
def test_every_parameter_learns_and_construction_leaves_the_global_seed_alone(sae_type, make_cfg):
    state = torch.get_rng_state()
    sae = build(sae_type, make_cfg).train()
    assert torch.equal(torch.get_rng_state(), state)
    x = torch.randn(64, 16)
    sae.prepare(x)
    out = sae.run(x)
    ((out.x_hat - x).square().mean() + sum(sae.losses(out).values(), torch.zeros(()))).backward()
    assert all(weights.grad.abs().max() > 0 for weights in sae.parameters())


@pytest.mark.parametrize("sae_type", VARIANTS)
def test_seed_decides_initial_weights(sae_type, make_cfg):
    one, same, other = (build(sae_type, make_cfg, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one.W_enc, same.W_enc) and not torch.equal(one.W_enc, other.W_enc)


@pytest.mark.parametrize("sae_type", VARIANTS)
def test_forward_encode_and_decode_change_no_state(sae_type, make_cfg, sparse_data):
    sae = trained(sae_type, make_cfg, sparse_data)
    before = {name: tensor.clone() for name, tensor in sae.state_dict().items()}
    for _ in range(3):
        sae(sparse_data(50))
        sae.decode(sae.encode(sparse_data(5)))
    assert all(torch.equal(tensor, before[name]) for name, tensor in sae.state_dict().items())


@pytest.mark.parametrize("sae_type", VARIANTS)
def test_permuting_latents_permutes_codes_and_keeps_the_reconstruction(sae_type, make_cfg, sparse_data):
    sae = trained(sae_type, make_cfg, sparse_data)
    x = sparse_data(50)
    codes, x_hat = sae.encode(x), sae(x).x_hat
    order = torch.randperm(64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        sae.W_enc.copy_(sae.W_enc[:, order].clone())
        sae.W_dec.copy_(sae.W_dec[order].clone())
        for name in ("b_enc", "threshold"):
            tensor = getattr(sae, name, None)
            if tensor is not None and tensor.ndim:
                tensor.copy_(tensor[order].clone())
    torch.testing.assert_close(sae.encode(x), codes[:, order])
    torch.testing.assert_close(sae(x).x_hat, x_hat, atol=1e-5, rtol=1e-5)


def test_topk_keeps_exactly_k_and_the_largest(make_cfg):
    sae = build("topk", make_cfg).eval()
    x = torch.randn(200, 16)
    codes, pre_acts = sae.encode(x), x @ sae.W_enc
    assert (codes.count_nonzero(dim=1) == 4).all()
    torch.testing.assert_close(codes.topk(4).values, pre_acts.topk(4).values)


def test_selected_zeros_do_not_count_as_active(make_cfg):
    sae = build("topk", make_cfg).eval()
    with torch.no_grad():
        sae.b_enc.fill_(-1000.0)
    codes = sae.encode_scaled(torch.randn(5, 16)).codes
    assert codes.values.numel() == 20 and codes.l0().sum() == 0 and codes.firing_counts().sum() == 0


@pytest.mark.parametrize("n", [1, 4, 16, 300])
def test_batchtopk_trains_with_k_per_text_on_average(n, make_cfg):
    sae = build("batchtopk", make_cfg).train()
    codes = sae.run(torch.randn(n, 16)).codes
    assert int(codes.l0().sum()) == 4 * n
    assert n < 300 or codes.l0().max() > 4


def test_largest_of_batch_is_exact_however_values_are_spread():
    generator = torch.Generator().manual_seed(0)
    for rows, cols, n in [(1, 10, 3), (300, 40, 900), (128, 64, 128 * 64), (257, 33, 1), (64, 8, 100)]:
        scores = torch.randn(rows, cols, generator=generator)
        scores[: rows // 3] *= 100  # a few texts hold nearly all large values
        positive = scores.clamp_min(0)
        expected = torch.zeros(rows * cols).scatter(0, positive.flatten().topk(n).indices, 1.0)
        support = largest_of_batch(scores, n)
        found = Codes(support, support.gather(scores)).to_dense()
        torch.testing.assert_close(found, positive * expected.view(rows, cols))


def test_batchtopk_threshold_is_the_middle_between_the_last_kept_and_the_first_left_out():
    # k = 1, two texts: pi = (5,4,1), (3,2,0): keep 5 and 4, threshold (4 + 3) / 2
    pre_acts = torch.tensor([[5.0, 4.0, 1.0], [3.0, 2.0, 0.0]])
    assert exact_level((row[row > 0] for row in pre_acts), 2) == 3.5


def test_exact_level_does_not_depend_on_chunks_and_may_run_out_of_values():
    scores = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    ordered = scores.sort(descending=True).values.double()
    for size in (1, 7, 1000):
        assert exact_level(scores.split(size), 100) == float((ordered[99] + ordered[100]) / 2)
    assert exact_level(scores.split(7), 1000) == -math.inf
    assert exact_level(scores.split(7), 1007) == -math.inf
    assert exact_level([], 0) == -math.inf
    assert exact_level(scores.split(7), 0) == float(ordered[0])


def test_batchtopk_refuses_to_guess_before_calibration_and_is_not_capped_at_k(make_cfg):
    sae = build("batchtopk", make_cfg).eval()
    x = torch.randn(1000, 16) * torch.linspace(0.1, 3, 1000)[:, None]
    with pytest.raises(InputError, match="no inference threshold yet"):
        sae.encode(x)
    sae.calibrate(x)
    l0 = sae.encode(x).count_nonzero(dim=1).double()
    assert l0.mean() == 4 and l0.max() > 4
    assert "threshold" in sae.state_dict()


def test_a_wide_open_threshold_still_zeroes_what_lies_below_it(make_cfg):
    # more active entries than a sparse support pays for: the dense path must honour the threshold too
    sae = build("batchtopk", make_cfg, top_k=20).eval()
    x = torch.randn(500, 16)
    sae.calibrate(x)
    codes = sae.encode(x)
    assert codes.count_nonzero(dim=1).double().mean() == 20
    assert codes[codes != 0].min() > sae.threshold


def test_vanilla_calibration_meets_top_k_exactly_unless_the_penalty_is_given(make_cfg):
    x = torch.randn(500, 16, generator=torch.Generator().manual_seed(0))
    for l1_coeff, expected in ((None, 4.0), (0.1, None)):
        sae = sae_classes["vanilla"](make_cfg(sae_type="vanilla", l1_coeff=l1_coeff)).eval()
        before = sae.b_enc.clone()
        sae.calibrate(x)
        if expected is None:
            torch.testing.assert_close(sae.b_enc, before)
        else:
            codes = sae.encode_scaled(x).codes
            assert float(codes.l0().float().mean()) == expected
            shift = sae.b_enc - before
            torch.testing.assert_close(shift, shift[:1].expand_as(shift))


@pytest.mark.parametrize("l1_coeff", [None, 0.1])
def test_vanilla_calibration_lengthens_codes_by_the_factor_that_reconstructs_best(l1_coeff, make_cfg):
    generator = torch.Generator().manual_seed(0)
    sae = sae_classes["vanilla"](make_cfg(sae_type="vanilla", l1_coeff=l1_coeff)).eval()
    with torch.no_grad():
        sae.W_enc.mul_(0.3)
        sae.b_enc.normal_(-0.1, 0.1, generator=generator)
        sae.b_dec.normal_(0, 0.2, generator=generator)
    x = torch.randn(2500, 16, generator=generator)
    plain = sae_classes["vanilla"](make_cfg(sae_type="vanilla", l1_coeff=l1_coeff)).eval()
    plain.load_state_dict(sae.state_dict())
    if l1_coeff is None:
        with torch.no_grad():
            plain.b_enc -= exact_level(map(torch.flatten, plain.pre_acts_by_chunk(x)), 4 * len(x))
    sae.calibrate(x)
    before, after = plain.encode_scaled(x).codes.to_dense(), sae.encode_scaled(x).codes.to_dense()
    assert ((before > 0) == (after > 0)).all()
    # least squares of x - b_dec on the reconstruction without b_dec
    rows = (before @ plain.W_dec).double().flatten()
    factor = torch.linalg.lstsq(rows[:, None], (x - plain.b_dec).double().flatten()[:, None]).solution.item()
    assert factor > 1.2
    torch.testing.assert_close(after, factor * before, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("bandwidth", [0.1, 0.3])
def test_jumprelu_calibration_meets_top_k(bandwidth, make_cfg):
    sae = build("jumprelu", make_cfg, bandwidth=bandwidth).eval()
    sae.prepare(torch.randn(2000, 16))
    with torch.no_grad():
        sae.threshold += 0.3
    x = torch.randn(3000, 16)
    assert sae.encode(x).count_nonzero() < 3 * len(x)
    sae.calibrate(x)
    # one code may sit so close to its threshold that the shift rounds it away
    assert abs(int(sae.encode(x).count_nonzero()) - 4 * len(x)) <= 1


def test_jumprelu_starts_with_one_threshold_that_gives_top_k_latents_per_text(make_cfg):
    sae = build("jumprelu", make_cfg)
    x = torch.randn(3200, 16)
    sae.prepare(x)
    assert sae.threshold.unique().numel() == 1
    assert sae.eval().encode(x).count_nonzero() == 4 * len(x)


def test_jumprelu_shifts_all_thresholds_with_the_logarithm_of_l0(make_cfg):
    sae = build("jumprelu", make_cfg)
    with torch.no_grad():
        sae.threshold.fill_(1.0)
        sae.threshold[0] = 0.01
    # L0 = k e^(1/2): up by .15 / 2; L0 = 0: the error counts as -1, so down by .15, and no further than 0.
    sae.after_step(progress(0, 10, torch.tensor(4 * math.exp(0.5))))
    torch.testing.assert_close(sae.threshold[:2], torch.tensor([0.085, 1.075]))
    sae.after_step(progress(1, 10, torch.tensor(0.0)))
    torch.testing.assert_close(sae.threshold[:2], torch.tensor([0.0, 0.925]))


def test_the_encoder_turns_towards_what_suits_the_decoder_and_keeps_its_length(make_cfg):
    sae = build("topk", make_cfg, act_size=2, dict_size=2, top_k=1)
    with torch.no_grad():
        sae.W_dec.copy_(torch.eye(2))
        sae.W_enc.copy_(torch.tensor([[0.0, 3.0], [2.0, 0.0]]))  # columns (0, 2) and (3, 0)
    sae.tie_encoder(0.0, torch.eye(2))
    assert sae.W_enc.tolist() == [[0.0, 3.0], [2.0, 0.0]]
    sae.tie_encoder(0.5, torch.eye(2))  # half the way to (2, 0) and (0, 3)
    assert sae.W_enc.tolist() == [[1.0, 1.5], [1.0, 1.5]]
    sae.tie_encoder(7.0, torch.eye(2))  # no further than the decoder
    torch.testing.assert_close(sae.W_enc / sae.W_enc.norm(dim=0), torch.eye(2))

    with torch.no_grad():
        sae.W_dec.copy_(torch.tensor([[0.6, 0.8], [0.8, -0.6]]))
        sae.W_enc.copy_(torch.tensor([[5.0, 0.0], [0.0, 1.0]]))
    sae.tie_encoder(
        1.0, torch.tensor([0.5, 0.25]).diag()
    )  # (.6 / 2, .8 / 4) of length 5, (.8 / 2, -.6 / 4) of length 1
    wanted = torch.tensor([[0.3, 0.4], [0.2, -0.15]])
    torch.testing.assert_close(sae.W_enc.detach(), wanted / wanted.norm(dim=0) * torch.tensor([5.0, 1.0]))


def l0_gradient(pre_acts, threshold, bandwidth):
    threshold = torch.tensor(threshold, requires_grad=True)
    step(torch.as_tensor(pre_acts), threshold.expand(1), bandwidth).mean().backward()
    return threshold.grad


def test_step_kernel_acts_on_both_sides_of_the_threshold_and_divides_by_the_bandwidth_once():
    # both .47 and .53 lie within .1 / 2 of .5: d(mean L0)/d theta = -(1/.1) * mean(1, 1) = -10
    assert l0_gradient([[0.47], [0.53]], 0.5, 0.1).item() == pytest.approx(-10, rel=1e-5)


def test_step_kernel_sees_pre_activations_not_codes():
    # -1 and -2 are far from theta = .02, although their ReLU, 0, is within .1 / 2 of it
    assert l0_gradient([[-1.0], [-2.0]], 0.02, 0.1).item() == 0


def test_step_gradient_estimates_the_density_at_the_threshold():
    # pi ~ N(0, 1), theta = 1: d E[L0] / d theta = -phi(1) = -0.24197
    draws = torch.randn(10**6, 1, generator=torch.Generator().manual_seed(0))
    assert l0_gradient(draws, 1.0, 0.2).item() == pytest.approx(-0.242, abs=0.005)


def test_jump_has_the_published_pseudo_derivative():
    # dz/dtheta = -(theta / eps) K: theta = .5, eps = .1, one of two entries in the window: -(5) * 2 (its upstream)
    threshold = torch.tensor([0.5], requires_grad=True)
    pre_acts = torch.tensor([[0.52], [0.9]], requires_grad=True)
    z = jump(pre_acts, threshold, 0.1)
    z.backward(torch.tensor([[2.0], [3.0]]))
    torch.testing.assert_close(threshold.grad, torch.tensor([-10.0]))
    torch.testing.assert_close(pre_acts.grad, torch.tensor([[2.0], [3.0]]))


def test_jumprelu_sparsity_loss_alone_moves_the_thresholds(make_cfg):
    sae = build("jumprelu", make_cfg).train()
    x = torch.randn(200, 16)
    sae.prepare(x)
    with torch.no_grad():
        sae.threshold -= 0.3  # more than k fire, so thresholds must rise: negative gradient
    sae.losses(sae.run(x))["l0"].backward()
    assert (sae.threshold.grad <= 0).all() and sae.threshold.grad.min() < 0


def test_jumprelu_threshold_moves_freely_under_adam_and_stays_non_negative(make_cfg):
    # a raw threshold under Adam moves about lr per step; a log threshold at .01 would move .002 in 200 steps
    sae = build("jumprelu", make_cfg)
    with torch.no_grad():
        sae.threshold.fill_(0.01)
    optimizer = torch.optim.Adam([sae.threshold], lr=1e-3)
    for _ in range(200):
        sae.threshold.grad = torch.full_like(sae.threshold, -1.0)
        optimizer.step()
    assert (sae.threshold > 0.1).all()
    with torch.no_grad():
        sae.threshold.fill_(-0.2)
    sae.after_step(progress(0, 1, torch.tensor(4.0)))
    assert (sae.threshold == 0).all()


def test_vanilla_penalty_by_hand(make_cfg):
    # codes (1, 2), (0, 3): mean sum |z| = 3; l1 = .5, act_size = 16: .5 / 4 * 3
    sae = build("vanilla", make_cfg, l1_coeff=0.5)
    codes = torch.zeros(2, 64)
    codes[0, 0], codes[0, 1], codes[1, 5] = 1.0, 2.0, 3.0
    out = sae.run(torch.randn(2, 16))._replace(codes=Codes(Support.dense(codes), codes))
    assert float(sae.losses(out)["l1"]) == pytest.approx(0.375)


def test_vanilla_steers_its_penalty_only_when_it_is_not_given(make_cfg):
    free, fixed = build("vanilla", make_cfg), build("vanilla", make_cfg, l1_coeff=0.5)
    start = float(free.l1)
    for sae in (free, fixed):
        sae.after_step(progress(0, 10, torch.tensor(40.0)))
    assert float(free.l1) > start and float(fixed.l1) == 0.5
    for _ in range(100):
        free.after_step(progress(0, 10, torch.tensor(0.1)))
    assert float(free.l1) < start


@pytest.mark.parametrize("l1_coeff", [None, 0.5])
def test_vanilla_raises_dead_latents_and_no_others(make_cfg, l1_coeff):
    sae = build("vanilla", make_cfg, l1_coeff=l1_coeff)
    sae.after_step(progress(0, 10, torch.tensor(4.0), dead=[2, 5]))
    wanted = torch.zeros(64)
    wanted[[2, 5]] = 0.015
    assert torch.equal(sae.b_enc.detach(), wanted)


def test_vanilla_learns_its_encoder_faster_than_other_variants_do(make_cfg):
    assert build("vanilla", make_cfg).lr_multipliers() == {"W_enc": 2.5}
    assert build("topk", make_cfg).lr_multipliers() == {}


def test_vanilla_says_that_a_given_penalty_leaves_nothing_to_top_k(make_cfg, caplog):
    build("vanilla", make_cfg).prepare(torch.randn(20, 16))
    assert caplog.text == ""
    build("vanilla", make_cfg, l1_coeff=0.5).prepare(torch.randn(20, 16))
    assert "l1_coeff=0.5 is set, so L0 follows from it and not from top_k=4" in caplog.text


def test_vanilla_changes_its_penalty_by_two_percent_a_step_at_most(make_cfg):
    sae = build("vanilla", make_cfg)
    # .9 k + .1 l0 = k e^(1/2): ln(l1) moves by half of the largest step
    sae.after_step(progress(0, 10, torch.tensor(sae.top_k * (math.exp(0.5) - 0.9) / 0.1)))
    assert float(sae.l0_mean) == pytest.approx(sae.top_k * math.exp(0.5))
    assert float(sae.l1) == pytest.approx(0.05 * math.exp(0.01))
    for l0_mean, sign in ((1e9, 1), (0.0, -1)):
        sae.l0_mean.fill_(l0_mean)
        before = float(sae.l1)
        sae.after_step(progress(1, 10, torch.tensor(l0_mean)))
        assert float(sae.l1) == pytest.approx(before * math.exp(0.02 * sign))
    for value in (1e-6, 1e2):
        sae.l1.fill_(value)
        sae.l0_mean.fill_(1e9 * (value > 1))
        sae.after_step(progress(2, 10, torch.tensor(1e9 * (value > 1))))
        assert float(sae.l1) == pytest.approx(value)


def test_defaults_are_those_of_the_published_recipe():
    cfg = get_experiment_cfg(sae_type="jumprelu")
    keys = ("beta1", "beta2", "lr_warmup", "lr_decay", "batch_size", "n_epochs")
    assert [cfg[key] for key in keys] == [0.5, 0.99, 0.05, 0.2, 512, 10]
    assert cfg["aux_penalty"] == 1 / 32 and cfg["dead_after"] == 0.5 and default_lr(512) == 3e-3
    sae = JumpReLUSAE(cfg | {"act_size": 4})
    assert sae.options.bandwidth == 0.3 and sae.lr_multipliers() == {"threshold": 0.1}


def test_start_levels_are_exceeded_by_the_share_asked_for_rounded(make_cfg):
    sae, x = build("topk", make_cfg), torch.randn(107, 16)  # 107 * 4 / 64 = 6.7
    levels = sae.sparse_start_levels(x)
    pre_acts = x @ sae.W_enc
    assert ((pre_acts > levels).sum(dim=0) == 7).all()


def test_start_levels_of_a_few_rows_let_the_strongest_fire(make_cfg):
    sae, x = build("topk", make_cfg), torch.randn(5, 16)  # 5 * 4 / 64 rounds to none
    assert ((x @ sae.W_enc > sae.sparse_start_levels(x)).sum(dim=0) == 1).all()


@pytest.mark.parametrize("sae_type", VARIANTS)
def test_numpy_arrays_of_any_precision_are_encoded(sae_type, make_cfg, sparse_data):
    sae, x = trained(sae_type, make_cfg, sparse_data), sparse_data(20)
    for array in (x.numpy(), x.double().numpy()):
        torch.testing.assert_close(sae.encode(array), sae.encode(x))


@pytest.mark.parametrize("sae_type", ["vanilla", "jumprelu"])
def test_two_passes_may_come_before_one_backward(sae_type, make_cfg):
    # with 40 of 64 latents active on average, pre-activations stay dense
    x, y = torch.randn(2, 20, 16)
    gradients = []
    for at_once in (True, False):
        sae = build(sae_type, make_cfg, top_k=40).train()
        sae.prepare(x)
        first = sae.run(x)
        assert first.codes.support.is_dense and first.pre_values is not None
        kept, other = first.pre_values.clone(), sae.run(y) if at_once else None
        assert torch.equal(first.pre_values, kept)
        first.x_hat.square().sum().backward()
        (other or sae.run(y)).x_hat.square().sum().backward()
        gradients.append(sae.W_enc.grad)
    torch.testing.assert_close(*gradients)


def test_an_entry_at_the_threshold_is_not_active(make_cfg):
    sae = build("batchtopk", make_cfg).eval()
    sae.threshold.fill_(1.0)
    pre_acts = torch.tensor([[0.5, 1.0, 1.5] + [0.0] * 61])
    assert sae.select(pre_acts).indices.tolist() == [2]


TOLERANCE = {"topk": 0.01, "batchtopk": 0.1, "jumprelu": 0.1, "vanilla": 0.2}


@pytest.mark.parametrize(
    ("sae_type", "top_k"), [(name, top_k) for name in TOLERANCE for top_k in (2, 4) if (name, top_k) != ("topk", 4)]
)
def test_l0_on_new_data_is_top_k(sae_type, top_k, make_cfg, sparse_data):
    # texts have three features on average; a TopK SAE with k = 4 leaves latents unused where features run out
    cfg = make_cfg(sae_type=sae_type, top_k=top_k, n_epochs=20, batch_size=128)
    sae = train(sae_classes[sae_type](cfg), TensorStore(sparse_data(3000), cfg), cfg)
    l0 = sae.encode(sparse_data(3000)).count_nonzero(dim=1).double().mean()
    assert abs(float(l0) - top_k) <= top_k * TOLERANCE[sae_type]


def test_input_scaling_is_that_of_the_whole_split_however_it_is_batched(make_cfg):
    x = torch.randn(1000, 16) * 3 + torch.arange(16.0) + 1e3  # a large mean must not cancel the variance away
    sae = build("topk", make_cfg)
    sae.fit_input_scaling(x.split(37))
    mean = x.double().mean(0)
    torch.testing.assert_close(sae.mean, mean.float())
    assert float(sae.scale) == pytest.approx(float((x.double() - mean).square().sum(1).mean() / 16) ** 0.5, rel=1e-5)
    scaled, _ = sae.normalise(x)
    assert float(scaled.double().square().sum(1).mean()) == pytest.approx(16, rel=1e-3)


def test_constant_or_missing_data_is_refused(make_cfg):
    with pytest.raises(InputError, match="all 10 training embeddings are the same"):
        build("topk", make_cfg).fit_input_scaling([torch.ones(10, 16)])
    with pytest.raises(InputError, match="no training texts"):
        build("topk", make_cfg).fit_input_scaling([])


@pytest.mark.parametrize("input_unit_norm", [False, True])
def test_denormalise_undoes_normalise(input_unit_norm, make_cfg, sparse_data):
    sae = build("topk", make_cfg, input_unit_norm=input_unit_norm)
    x = torch.nn.functional.normalize(sparse_data(500), dim=1)
    sae.fit_input_scaling([x])
    torch.testing.assert_close(sae.denormalise(*sae.normalise(x)), x, atol=1e-6, rtol=0)


def test_unit_norm_needs_the_embeddings_to_decode(make_cfg, sparse_data):
    sae = build("topk", make_cfg, input_unit_norm=True).eval()
    with pytest.raises(InputError, match="decode\\(codes, like=x\\)"):
        sae.decode(torch.zeros(2, 64))


def test_scaling_the_data_leaves_codes_unchanged(make_cfg, sparse_data):
    x, sae = sparse_data(500), build("topk", make_cfg).eval()
    sae.fit_input_scaling([x])
    codes = sae.encode(x)
    sae.fit_input_scaling([7 * x])
    torch.testing.assert_close(sae.encode(7 * x), codes, atol=1e-5, rtol=1e-5)


def test_the_pre_encoder_bias_does_not_shift_the_target(make_cfg):
    # x = b_dec and no active code: the reconstruction is exact
    sae = build("jumprelu", make_cfg).eval()
    with torch.no_grad():
        sae.b_dec.copy_(torch.arange(16.0))
        sae.threshold.fill_(1.0)
    x = torch.arange(16.0)[None]
    assert torch.equal(sae.run(x).x_hat, x)


def test_codes_between_and_largest():
    dense = torch.tensor([[3.0, 0.0, -4.0, 1.0], [0.0, 2.0, 0.0, 5.0]])
    sparse = Support.from_mask(dense != 0, dense_above=1.0)
    for codes in (Codes(sparse, sparse.gather(dense)), Codes(Support.dense(dense), dense)):
        assert torch.equal(codes.to_dense(), dense)
        assert torch.equal(codes.between(0, 2).to_dense(), torch.tensor([[3.0, 0, 0, 0], [0, 2.0, 0, 0]]))
        assert torch.equal(codes.largest(1).to_dense(), torch.tensor([[0, 0, -4.0, 0], [0, 0, 0, 5.0]]))
        assert codes.l0().tolist() == [3, 2] and codes.firing_counts().tolist() == [1, 1, 1, 2]


@pytest.mark.parametrize("key", ["act_size", "dict_size", "top_k"])
def test_a_cfg_without_sizes_is_refused(key, make_cfg):
    with pytest.raises(InputError, match=f"{key}=None must be a whole number"):
        sae_classes["topk"](make_cfg() | {key: None})


def test_a_single_number_cannot_be_standardised(make_cfg):
    with pytest.raises(InputError, match="input_unit_norm=True leaves nothing of embeddings of act_size=1"):
        sae_classes["topk"](make_cfg(act_size=1, input_unit_norm=True))


@pytest.mark.parametrize("shape", [(16,), (3, 15), (2, 3, 16)])
def test_embeddings_of_another_shape_are_refused(shape, make_cfg):
    with pytest.raises(InputError, match=r"embeddings must have the shape \(n, 16\); these have "):
        build("topk", make_cfg).encode(torch.zeros(shape))


def test_numpy_embeddings_are_welcome_and_printing_shows_the_sizes(make_cfg):
    sae = build("topk", make_cfg).eval()
    x = torch.randn(5, 16)
    assert torch.equal(sae.encode(x.numpy()), sae.encode(x))
    assert repr(sae) == "TopKSAE(act_size=16, dict_size=64, top_k=4)"

"""Screening in integers selects what float32 selects."""

from __future__ import annotations

import math

import pytest
import torch

from sae_kedro.sae import sae_classes, screening
from sae_kedro.sae.base import SAE
from sae_kedro.sae.screening import Int8Product, multiplies_bytes
from sae_kedro.sae.selection import largest_of_batch
from sae_kedro.sae.topk import TopKSAE

pytestmark = pytest.mark.skipif(not multiplies_bytes(), reason="the processor has no products of 8-bit integers")
N, D, F, K = 700, 48, 2048, 8
CHUNK = 512  # rows, so that there is a second chunk that is not full


def problem(seed=0, outlier=1.0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(N, D, generator=generator)
    x[3] *= outlier
    rows = torch.randn(F, D, generator=generator)
    rows /= rows.norm(dim=1, keepdim=True)
    bias = 0.3 * torch.randn(F, generator=generator)
    return Int8Product(x, rows.t(), bias, torch.empty(CHUNK, F)), x @ rows.t() + bias


@pytest.mark.parametrize("outlier", [1.0, 30.0, 0.0])
def test_the_margin_covers_what_rounding_does(outlier):
    product, pre_acts = problem(outlier=outlier)
    x_reach, w_reach = product.x.abs().amax(dim=0), product.W_enc.abs().amax(dim=1)
    balance, step = (x_reach / w_reach).sqrt(), float((x_reach * w_reach).sqrt().max()) / 127
    bytes_of_x, bytes_of_w = (product.x / balance / step).round(), (product.W_enc.t() * balance / step).round()
    assert bytes_of_x.abs().max() == bytes_of_w.abs().max() == 127
    error = (bytes_of_x @ bytes_of_w.t() * step**2 + product.b_enc - pre_acts).abs().max()
    assert product.unit == pytest.approx(step**2)
    assert error < product.margin < 12 * error


def test_strong_coordinates_do_not_widen_the_margin():
    even, _ = problem()
    strength = torch.linspace(-2, 2, D).exp()
    for_x = Int8Product(even.x * strength, even.W_enc / strength[:, None], even.b_enc, torch.empty(CHUNK, F))
    assert for_x.margin == pytest.approx(even.margin)


@pytest.mark.parametrize("outlier", [1.0, 3.0])
@pytest.mark.parametrize("k", [1, K, 16])
def test_the_largest_of_each_row_are_those_of_float32(k, outlier):
    product, pre_acts = problem(k, outlier)
    found = product.largest_of_rows(k)
    assert found is not None
    support, values = found
    torch.testing.assert_close(support.gather(pre_acts), values, rtol=1e-5, atol=1e-5)
    expected = pre_acts.topk(k).indices.sort().values
    torch.testing.assert_close(support.indices.view(N, k).sort().values, expected)


def test_dictionaries_too_small_or_odd_for_groups_are_left_to_float32():
    product, _ = problem()
    assert product.largest_of_rows(F // 64) is None
    odd = Int8Product(product.x, product.W_enc[:, :-1], product.b_enc[:-1], torch.empty(CHUNK, F - 1))
    assert odd.largest_of_rows(K) is None


def test_the_largest_of_the_batch_are_those_of_float32():
    product, pre_acts = problem()
    found = product.largest_of_batch(N * K)
    assert found is not None
    support, values = found
    expected = largest_of_batch(pre_acts, N * K)
    torch.testing.assert_close(support.indices, expected.indices)
    torch.testing.assert_close(support.offsets, expected.offsets)
    torch.testing.assert_close(values, expected.gather(pre_acts), rtol=1e-5, atol=1e-5)


def test_chunks_stay_in_the_cache_but_are_not_tiny():
    assert screening.chunk_rows(6144) == 512 and screening.chunk_rows(10**6) == 64


@pytest.mark.parametrize("missing", [0, 1])
def test_a_level_that_too_few_entries_exceed_is_left_to_float32(missing, monkeypatch):
    product, pre_acts = problem()
    ordered = pre_acts.flatten().sort(descending=True).values
    level = (ordered[N * K - missing] + ordered[N * K - missing - 1]) / 2
    monkeypatch.setattr(screening, "level_of_sample", lambda *_: level)
    found = product.above(level)
    assert found is not None and len(found[1]) > N * K  # what comes along from below the level does not count
    assert (product.largest_of_batch(N * K) is None) == bool(missing)


def test_fewer_positive_entries_than_asked_for_are_left_to_float32():
    product, _ = problem()
    product.b_enc -= 4.0
    assert product.largest_of_batch(N * K) is None


@pytest.mark.parametrize("per_latent", [False, True])
def test_everything_above_the_levels_is_found(per_latent):
    product, pre_acts = problem()
    levels = torch.linspace(2.2, 3.0, F) if per_latent else torch.tensor(2.4)
    found = product.above(levels)
    assert found is not None
    support, values = found
    marked = torch.zeros(N, F, dtype=torch.bool)
    marked[support.rows, support.indices] = True
    assert not ((pre_acts > levels) & ~marked).any()
    assert not ((pre_acts < levels - 2.1 * product.margin) & marked).any()
    torch.testing.assert_close(values, support.gather(pre_acts), rtol=1e-5, atol=1e-5)


def test_dense_or_broken_pre_activations_are_left_to_float32():
    product, _ = problem()
    assert product.above(torch.tensor(0.0)) is None
    assert product.above(torch.tensor(-math.inf)) is None
    for broken in (math.nan, math.inf):
        x = product.x.clone()
        x[0, 0] = broken
        unusable = Int8Product(x, product.W_enc, product.b_enc, torch.empty(CHUNK, F))
        assert unusable.above(torch.tensor(3.0)) is None
        assert unusable.largest_of_rows(K) is None and unusable.largest_of_batch(N * K) is None


@pytest.mark.parametrize("name", ["topk", "batchtopk", "vanilla", "jumprelu"])
def test_gradients_do_not_depend_on_screening(name, monkeypatch):
    sae = sae_classes[name]({"act_size": D, "dict_size": F, "top_k": K})
    x = torch.randn(N, D, generator=torch.Generator().manual_seed(1))
    sae.train()
    sae.prepare(x)
    with torch.no_grad():
        sae.b_enc += 0.01  # vanilla starts with one pre-activation of each latent at 0, give or take a rounding error
    gradients, asked = [], []
    screen = sae.screen
    monkeypatch.setattr(type(sae), "screen", lambda _, product: asked.append(screen(product)) or asked[-1])
    for smallest in (1, N * F + 1):
        monkeypatch.setattr(screening, "SMALLEST", smallest)
        sae.zero_grad()
        out = sae.run(x)
        ((out.x_hat - x).square().sum() + sum(sae.losses(out).values())).backward()
        gradients.append([out.x_hat.detach(), *(weights.grad for weights in sae.parameters())])
    assert len(asked) == 1 and asked[0] is not None
    for screened, plain in zip(*gradients, strict=True):
        torch.testing.assert_close(screened, plain, rtol=1e-4, atol=1e-4)


def test_only_training_on_large_batches_is_screened():
    sae = TopKSAE({"act_size": 384, "dict_size": 6144, "top_k": 32})
    assert Int8Product.pays(torch.zeros(4096, 384), sae.W_enc)
    assert not Int8Product.pays(torch.zeros(512, 384), sae.W_enc)
    assert not Int8Product.pays(torch.zeros(4096, 384, dtype=torch.float64), sae.W_enc)
    sae.screen = lambda product: pytest.fail("screened in evaluation")
    sae.eval()(torch.randn(4096, 384))


def test_a_subclass_with_its_own_select_is_not_screened_by_its_parents_rule():
    class Own(TopKSAE):
        def select(self, pre_acts):
            return super().select(-pre_acts)

    class Same(TopKSAE):
        pass

    assert Own.screen is SAE.screen and Same.screen is TopKSAE.screen

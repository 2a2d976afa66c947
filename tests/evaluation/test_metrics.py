from __future__ import annotations

import logging
import math

import numpy as np
import pytest
import torch

from conftest import TensorStore
from sae_kedro import InputError, evaluate, sae_classes, train
from sae_kedro.evaluation.metrics import ReconstructionMetrics, SparsityMetrics, fvu_by_k, latent_table
from sae_kedro.sae.codes import Codes, Support


def reconstruction(x, x_hat, mean=None, size=None):
    x, x_hat = torch.tensor(x), torch.tensor(x_hat)
    metrics = ReconstructionMetrics(torch.zeros(x.shape[1]) if mean is None else torch.tensor(mean))
    for start in range(0, len(x), size or len(x)):
        metrics.update(x[start : start + (size or len(x))], x_hat[start : start + (size or len(x))])
    return metrics.compute()


def test_the_mean_as_reconstruction_has_fvu_one():
    x = [[1.0, 2.0], [3.0, 6.0]]
    assert reconstruction(x, [[2.0, 4.0]] * 2, mean=[2.0, 4.0])["fvu"] == 1


def test_a_constant_offset_counts_as_error():
    # X = (-2,0), (2,0), x_hat = x + (1,0): error 2 over variance 8
    metrics = reconstruction([[-2.0, 0.0], [2.0, 0.0]], [[-1.0, 0.0], [3.0, 0.0]])
    assert metrics["fvu"] == 0.25 and metrics["explained_variance"] == 0.75
    assert metrics["mse"] == 0.5  # 2 / (2 rows * 2 dimensions)


def test_fvu_is_a_ratio_of_sums_and_not_a_mean_of_ratios():
    # X = (4,0), (1,0), mean 0, x_hat = (4,0), (0,0): (0 + 1) / (16 + 1)
    assert reconstruction([[4.0, 0.0], [1.0, 0.0]], [[4.0, 0.0], [0.0, 0.0]])["fvu"] == pytest.approx(1 / 17)


def test_one_row_is_enough():
    assert reconstruction([[2.0, 0.0]], [[1.0, 0.0]])["fvu"] == 0.25


def test_cosine_and_relative_bias_by_hand():
    # cosines 1 and 0; sum |x_hat|^2 = 4 + 1, sum <x, x_hat> = 2 + 0
    metrics = reconstruction([[1.0, 0.0], [0.0, 1.0]], [[2.0, 0.0], [1.0, 0.0]])
    assert metrics["cosine"] == 0.5 and metrics["relative_bias"] == 2.5


def test_a_shrunken_reconstruction_has_relative_bias_below_one():
    x = torch.randn(50, 8)
    metrics = ReconstructionMetrics(torch.zeros(8))
    metrics.update(x, 0.8 * x)
    assert metrics.compute()["relative_bias"] == pytest.approx(0.8)


@pytest.mark.parametrize("size", [1, 7, 512])
def test_metrics_do_not_depend_on_the_batch_size(size):
    generator = torch.Generator().manual_seed(0)
    x, x_hat = torch.randn(2, 100, 8, generator=generator).tolist()
    assert reconstruction(x, x_hat, size=size) == pytest.approx(reconstruction(x, x_hat), rel=1e-12)


def test_no_rows_no_variance_and_not_a_number(caplog):
    with pytest.raises(InputError, match="no texts to evaluate on"):
        ReconstructionMetrics(torch.zeros(2)).compute()
    with caplog.at_level(logging.WARNING):
        assert math.isnan(reconstruction([[1.0, 1.0]], [[0.0, 0.0]], mean=[1.0, 1.0])["fvu"])
    assert "FVU is undefined" in caplog.text
    with pytest.raises(InputError, match="embedding 1 is not finite"):
        reconstruction([[1.0, 1.0], [math.nan, 1.0]], [[0.0, 0.0]] * 2)


@pytest.fixture
def rows():
    """Embeddings with a mean far from 0, and reconstructions that are shrunken, shifted and noisy."""
    x, noise = torch.randn(2, 300, 8, generator=torch.Generator().manual_seed(0)).double()
    x = x * torch.arange(1, 9) + 5
    return x, 0.9 * x + 0.1 + noise


def test_fvu_is_the_explained_variance_of_other_libraries_in_its_corrected_form(rows):
    x, x_hat = rows
    metrics = reconstruction(x.tolist(), x_hat.tolist(), mean=x.mean(0).tolist(), size=7)
    # SAELens since issue 659: 1 - sum of squared errors / sum of squares about the mean of the same texts
    residual, total = (x - x_hat).pow(2).sum(-1), (x - x.mean(0)).pow(2).sum(-1)
    assert metrics["explained_variance"] == pytest.approx(float(1 - residual.sum() / total.sum()), rel=1e-5)
    # dictionary_learning: 1 - var(x - x_hat) / var(x), which forgets the mean of the error; corrected, it is added
    error = x - x_hat
    forgetful = torch.var(error, dim=0, correction=0).sum() / torch.var(x, dim=0, correction=0).sum()
    offset = error.mean(0).pow(2).sum() / torch.var(x, dim=0, correction=0).sum()
    assert metrics["fvu"] == pytest.approx(float(forgetful + offset), rel=1e-5)
    assert metrics["fvu"] > 1.05 * float(forgetful)


def test_cosine_bias_and_mse_are_those_of_other_libraries(rows):
    x, x_hat = rows
    metrics = reconstruction(x.tolist(), x_hat.tolist(), size=7)  # their bias is about 0, and so is ours with mean 0
    unit, unit_hat = x / x.norm(dim=-1, keepdim=True), x_hat / x_hat.norm(dim=-1, keepdim=True)
    assert metrics["cosine"] == pytest.approx(float((unit * unit_hat).sum(-1).mean()), rel=1e-5)
    bias = x_hat.norm(dim=-1).pow(2).mean() / (x * x_hat).sum(-1).mean()
    assert metrics["relative_bias"] == pytest.approx(float(bias), rel=1e-5)
    assert metrics["mse"] == pytest.approx(float((x - x_hat).pow(2).mean()), rel=1e-5)


def test_intervals_are_those_of_plain_resampling(trained):
    sae, store = trained
    metrics = evaluate(sae, store).metrics
    x = torch.cat(list(store.eval_batches()))
    x_hat, codes = (part.detach() for part in sae(x))
    error, total = (x - x_hat).square().sum(1).double(), (x - sae.train_mean).square().sum(1).double()
    rng, fvu, l0 = np.random.default_rng(0), [], []
    for _ in range(1000):
        drawn = torch.from_numpy(rng.integers(200, size=200))
        fvu.append(float(error[drawn].sum() / total[drawn].sum()))
        l0.append(float((codes[drawn] != 0).sum(1).double().mean()))
    assert metrics["fvu_ci95"] == pytest.approx(np.percentile(fvu, [2.5, 97.5]).tolist(), rel=1e-4)
    assert metrics["l0_ci95"] == pytest.approx(np.percentile(l0, [2.5, 97.5]).tolist(), rel=1e-6)
    assert metrics["cosine_ci95"][0] < metrics["cosine"] < metrics["cosine_ci95"][1]


def sparsity(dense, parts=1):
    metrics = SparsityMetrics(dense.shape[1])
    for part in dense.chunk(parts):
        metrics.update(Codes(Support.dense(part), part))
    return metrics


def test_signed_codes_are_active_codes():
    # (-2,0,1): L0 2; (0,0,-3): L0 1; latent 0 fires once, latent 1 never, latent 2 twice
    metrics = sparsity(torch.tensor([[-2.0, 0.0, 1.0], [0.0, 0.0, -3.0]]))
    assert metrics.firing_counts.tolist() == [1, 0, 2] and metrics.l0_counts.tolist() == [0, 1, 1, 0]
    values = metrics.compute()
    assert values["l0"] == 1.5 and values["l0_std"] == 0.5
    assert values["silent_fraction"] == pytest.approx(1 / 3) and values["dense_fraction"] == pytest.approx(2 / 3)


def test_silent_latents_fired_on_no_text_and_dense_ones_on_more_than_a_tenth():
    dense = torch.zeros(100, 5)
    for latent, n_texts in enumerate((0, 1, 2, 10, 11)):
        dense[:n_texts, latent] = 1.0
    values = sparsity(dense, 1).compute()
    assert (values["silent_fraction"], values["dense_fraction"]) == (0.2, 0.2)


def test_embeddings_that_vary_are_not_warned_of(caplog):
    with caplog.at_level(logging.WARNING):
        assert reconstruction([[1.0, 2.0]], [[0.0, 0.0]])["fvu"] == pytest.approx(1.0)
    assert not caplog.records


def test_l0_quantiles_are_those_of_the_texts():
    dense = torch.ones(100, 100).tril(-1)  # one text each with L0 0, 1, ..., 99
    for parts in (1, 3):
        values = sparsity(dense, parts).compute()
        assert [values[f"l0_p{q:02d}"] for q in (1, 25, 50, 75, 99)] == [0, 24, 49, 74, 98]


@pytest.fixture
def trained(make_cfg, sparse_data):
    cfg = make_cfg(n_epochs=5, lr=3e-4)  # slow enough that every text keeps top_k positive pre-activations
    store = TensorStore(sparse_data(1000), cfg, held_out=200)
    return train(sae_classes["topk"](cfg), store, cfg), store


def test_evaluation_equals_plain_arithmetic_on_dense_codes(trained):
    sae, store = trained
    x = torch.cat(list(store.eval_batches()))
    result = evaluate(sae, store)
    out = sae(x)
    x, x_hat = x.double(), out.x_hat.detach().double()
    mean = torch.cat(list(store.train_batches())).double().mean(0)
    fvu = float((x - x_hat).square().sum() / (x - mean).square().sum())
    assert result.metrics["fvu"] == pytest.approx(fvu, rel=1e-5)
    assert result.metrics["l0"] == float((out.codes != 0).sum(1).double().mean()) == 4
    assert result.metrics["n_texts"] == 200 and result.metrics["split"] == "held_out"
    torch.testing.assert_close(result.density, (out.codes != 0).double().mean(0))
    assert result.fvu_by_k[4] == pytest.approx(fvu, rel=1e-5)


def test_evaluation_does_not_depend_on_the_batch_size(trained):
    sae, store = trained
    one, other = evaluate(sae, store, batch_size=7), evaluate(sae, store, batch_size=512)
    assert len(one.metrics) > 25
    for key in one.metrics.keys() - {"evaluation_seconds", "split"}:
        assert other.metrics[key] == pytest.approx(one.metrics[key], rel=1e-6), key
    assert other.fvu_by_k == pytest.approx(one.fvu_by_k, rel=1e-6)


def test_keeping_more_codes_of_an_orthonormal_dictionary_never_reconstructs_worse():
    sae = sae_classes["topk"]({"act_size": 16, "dict_size": 16, "top_k": 16}).eval()
    with torch.no_grad():
        sae.W_dec.copy_(torch.linalg.qr(torch.randn(16, 16)).Q)
        sae.W_enc.copy_(sae.W_dec.t())
    curve = fvu_by_k(sae, torch.randn(100, 16))
    assert list(curve) == [1, 2, 4, 8, 16]
    assert list(curve.values()) == sorted(curve.values(), reverse=True)
    assert list(fvu_by_k(sae, -sae.W_dec.detach().sum(dim=0, keepdim=True))) == [
        1
    ]  # no code at all is one curve point, not none
    # all positive codes kept: half of a Gaussian's variance, the negative half, is left
    assert curve[16] == pytest.approx(0.5, abs=0.1)


def test_dead_means_silent_in_training_and_on_held_out_texts(trained):
    sae, store = trained
    fired = evaluate(sae, store).density > 0
    silent, active = int((~fired).nonzero()[0]) if (~fired).any() else None, int(fired.nonzero()[0])
    with torch.no_grad():
        sae.density.fill_(0.1)
    assert evaluate(sae, store).metrics["dead_fraction"] == 0
    with torch.no_grad():
        sae.density[active] = 0  # silent in training, active on held-out texts
        sae.b_enc[40] = -1e3  # silent on held-out texts, active in training
    assert evaluate(sae, store).metrics["dead_fraction"] == 0
    with torch.no_grad():
        sae.density[40] = 0
    assert evaluate(sae, store).metrics["dead_fraction"] == 1 / 64
    assert silent is None or silent != active


def test_fvu_is_the_same_in_both_spaces_under_dataset_scaling(trained):
    sae, store = trained
    x = torch.cat(list(store.eval_batches())).double()
    sae = sae.double()
    scaled = sae.normalise(x)[0]
    in_scaled = (sae.run(scaled).x_hat - scaled).square().sum() / scaled.square().sum()
    assert in_scaled.item() == pytest.approx(evaluate(sae, DoubleStore(x)).metrics["fvu"], rel=1e-6)


class DoubleStore:
    def __init__(self, x):
        self.x = x

    def eval_batches(self, batch_size=None):
        yield self.x

    def train_batches(self, batch_size=8192):
        yield self.x


def test_without_held_out_texts_training_texts_are_used_and_it_is_said(trained, make_cfg, sparse_data, caplog):
    sae, _ = trained
    with caplog.at_level(logging.WARNING):
        metrics = evaluate(sae, TensorStore(sparse_data(50), make_cfg())).metrics
    assert metrics["split"] == "training" and metrics["n_texts"] == 50 and "No text is held out" in caplog.text


def test_latent_table_lists_every_latent(trained):
    sae, store = trained
    table = latent_table(sae, evaluate(sae, store))
    assert len(table) == 64 and table["train_density"].sum() == pytest.approx(4, rel=1e-5)
    assert table["encoder_decoder_cosine"].between(-1, 1).all()

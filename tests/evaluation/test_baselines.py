from __future__ import annotations

import numpy as np
import pytest
import torch

from conftest import TensorStore
from sae_kedro import evaluate, sae_classes
from sae_kedro.evaluation.baselines import fit_pca, random_dictionary


def test_one_component_by_hand():
    # (2,0) (-2,0) (0,1) (0,-1): the first axis is kept, the error is 2 of 10
    x = torch.tensor([[2.0, 0.0], [-2.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    pca = fit_pca([x], 1)
    torch.testing.assert_close(pca.reconstruct(x), torch.tensor([[2.0, 0.0], [-2.0, 0.0], [0.0, 0.0], [0.0, 0.0]]))
    assert fit_pca([], 1) is None


@pytest.mark.parametrize("size", [1, 7, 200])
def test_batches_give_what_a_singular_value_decomposition_gives(size):
    x = torch.randn(200, 8, generator=torch.Generator().manual_seed(0)) * torch.arange(1, 9) + 50.0
    pca = fit_pca(x.split(size), 3)
    centred = x.double() - x.double().mean(0)
    _, _, directions = np.linalg.svd(centred.numpy(), full_matrices=False)
    kept = centred.numpy() @ directions[:3].T @ directions[:3] + x.double().mean(0).numpy()
    np.testing.assert_allclose(pca.reconstruct(x).numpy(), kept, atol=1e-3)
    assert fit_pca([x], 99).directions.shape == (8, 8)  # no more than there are


def test_random_dictionary_is_tied_unit_rows_and_the_largest_products(make_cfg, sparse_data):
    sae, x = sae_classes["topk"](make_cfg()), sparse_data(20)
    with torch.no_grad():
        sae.train_mean.copy_(x.mean(0))
        sae.W_dec.mul_(3)  # what was learned plays no part
    dictionary = random_dictionary(sae)
    rows = dictionary.W_dec.detach()
    torch.testing.assert_close(rows.norm(dim=1), torch.ones(64))
    products = (x - x.mean(0)) @ rows.t()
    codes = torch.zeros_like(products)
    top = products.topk(4, dim=1)
    codes.scatter_(1, top.indices, top.values.clamp_min(0))
    torch.testing.assert_close(dictionary(x).x_hat.detach(), x.mean(0) + codes @ rows)


def test_evaluation_reports_both_on_the_same_texts(make_cfg, sparse_data):
    cfg = make_cfg()
    sae, data = sae_classes["topk"](cfg), sparse_data(300)
    store = TensorStore(data, cfg, held_out=100)
    sae.fit_input_scaling(store.train_batches())
    metrics = evaluate(sae, store).metrics
    x, mean = data[:100].double(), data[100:].double().mean(0)
    total = (x - mean).square().sum()
    directions = np.linalg.svd((data[100:].double() - mean).numpy(), full_matrices=False)[2][:4]
    left = (x - mean) - (x - mean) @ torch.from_numpy(directions.T @ directions)
    assert metrics["fvu_pca"] == pytest.approx(float(left.square().sum() / total), rel=1e-4)
    # an untrained TopK SAE is a random dictionary; with another seed it is another one
    assert metrics["fvu_random_dictionary"] == pytest.approx(metrics["fvu"], rel=1e-4)
    assert metrics["fvu_pca_ci95"][0] < metrics["fvu_pca"] < metrics["fvu_pca_ci95"][1]

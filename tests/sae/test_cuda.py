"""The same codes and gradients on a GPU; skipped, and counted as skipped, where there is none."""

from __future__ import annotations

import pytest
import torch

from sae_kedro import sae_classes

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


@pytest.mark.parametrize("sae_type", ["vanilla", "topk", "batchtopk", "jumprelu"])
def test_gradients_on_a_gpu_are_those_of_the_cpu(sae_type, make_cfg, sparse_data):
    cfg = make_cfg(sae_type=sae_type)
    x = sparse_data(256)
    here, there = sae_classes[sae_type](cfg).train(), sae_classes[sae_type](cfg).train().cuda()
    for sae, rows in ((here, x), (there, x.cuda())):
        sae.prepare(rows)
        out = sae.run(rows)
        ((out.x_hat - rows).square().mean() + sum(sae.losses(out).values())).backward()
    for name, weights in here.named_parameters():
        torch.testing.assert_close(there.get_parameter(name).grad.cpu(), weights.grad, rtol=1e-3, atol=1e-5)

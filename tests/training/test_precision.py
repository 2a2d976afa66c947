from __future__ import annotations

import pyarrow.parquet as pq
import pytest
import torch

from sae_kedro import ActivationsStoreSBERT, load_sae, sae_classes, save_sae
from sae_kedro.training.trainer import Trainer


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_dtype_is_that_of_the_encoder_alone(dtype, make_cfg, minilm, corpus_file, tmp_path):
    sizes = {"act_size": 384, "dict_size": 32, "num_examples": 64, "eval_fraction": 0.1}
    cfg = make_cfg(sae_type="jumprelu", dtype=dtype, dataset_path=str(corpus_file), **sizes)
    store = ActivationsStoreSBERT(minilm, cfg)
    batches = list(store)
    (shard,) = (tmp_path / "data").rglob("*.parquet")
    assert str(pq.read_schema(shard).field("embedding").type.value_type) == "float"
    vectors = torch.cat(batches)
    assert vectors.dtype == torch.float32 and vectors.isfinite().all()
    assert (vectors != vectors.to(getattr(torch, dtype)).float()).any()  # pooled and normalised in float32
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(len(vectors)), rtol=0, atol=1e-5)

    sae = sae_classes["jumprelu"](cfg).train()
    sae.fit_input_scaling(store.train_batches())
    training = torch.cat(list(store.train_batches()))
    torch.testing.assert_close(sae.mean, training.double().mean(dim=0).float(), rtol=0, atol=0)
    trainer = Trainer(sae, cfg, len(training), 2)
    sae.prepare(sae.normalise(training)[0])
    trainer.step(batches[0])
    moments = [value for state in trainer.optimizer.state.values() for value in state.values()]
    assert {tensor.dtype for tensor in [*moments, *sae.state_dict().values()]} == {torch.float32}
    save_sae(sae, tmp_path)
    assert load_sae(tmp_path).threshold.dtype == torch.float32

"""The snippet of the specification, unchanged; only the corpus and the output folder are this test's own."""

from __future__ import annotations

from functools import partial

import pytest
import torch

import sae_kedro

SNIPPET = """
cfg = get_experiment_cfg()                 # a dictionary of hyper-parameters and system settings
cfg = post_init_cfg(cfg)                   # derived and default values filled in
sae = sae_classes[cfg["sae_type"]](cfg)    # every variant receives the same dictionary
store = ActivationsStoreSBERT(model, cfg)  # model: a SentenceTransformer
batch = store.next_batch()                 # (batch_size, act_size)
"""


@pytest.mark.parametrize("sae_type", ["vanilla", "topk", "batchtopk", "jumprelu"])
def test_snippet_of_the_specification_runs_unchanged(sae_type, minilm, corpus_file, tmp_path_factory):
    own = {"sae_type": sae_type, "dataset_path": str(corpus_file), "batch_size": 64}
    own["data_root"] = str(tmp_path_factory.getbasetemp() / "snippet")
    names = {name: getattr(sae_kedro, name) for name in sae_kedro.__all__}
    scope = names | {"model": minilm, "get_experiment_cfg": partial(sae_kedro.get_experiment_cfg, **own)}
    exec(SNIPPET, scope)
    sae, batch, cfg = scope["sae"], scope["batch"], scope["cfg"]
    assert batch.shape == (64, 384) and batch.dtype == torch.float32
    torch.testing.assert_close(batch.norm(dim=1), torch.ones(64))  # MiniLM's embeddings have unit norm
    assert type(sae) is sae_kedro.sae_classes[sae_type] and sae.W_enc.shape == (384, cfg["dict_size"])
    sae.train().fit_input_scaling([batch])
    out = sae(batch)
    assert out.x_hat.shape == batch.shape and out.codes.shape == (64, cfg["dict_size"])

"""What each word adds to a latent: exact where the embedding is a mean of token vectors, and told where it is not."""

from __future__ import annotations

import pytest
import torch
from sae_kedro_matching_pursuit import MatchingPursuitSAE
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling

from sae_kedro import InputError, fit
from sae_kedro.interpretation.explain import embed
from sae_kedro.interpretation.highlights import highlight

TEXT = "Fault-tolerant qubits, naïvely: 量子 codes!"
LATENTS = [3, 17, 5]


@pytest.fixture(scope="module")
def vectors(docs, minilm):
    return minilm.encode(docs[:100], convert_to_tensor=True)


@pytest.fixture(scope="module", params=[False, True], ids=["as they are", "input_unit_norm"])
def sae(request, vectors):
    return fit(vectors, dict_size=64, top_k=4, n_epochs=2, input_unit_norm=request.param, device="cpu")


def models(minilm):
    prompts = {"prompts": {"query": "as a query: "}, "default_prompt_name": "query"}
    return {
        "as it is": minilm,
        "not normalised": SentenceTransformer(modules=[minilm[0], Pooling(384, "mean")], device="cpu"),
        "with a prompt": SentenceTransformer(modules=list(minilm), device="cpu", **prompts),
    }


@pytest.mark.parametrize("limit", [None, 5])
@pytest.mark.parametrize("name", ["as it is", "not normalised", "with a prompt"])
def test_words_add_up_to_what_a_latent_sees(name, limit, sae, minilm):
    model = models(minilm)[name]
    sae.cfg["max_seq_length"] = limit
    found = highlight(sae, TEXT, LATENTS, model)
    scaled = sae.normalise(embed(sae, [TEXT], model))[0]
    whole = sae.latent_pre_acts(scaled, torch.tensor(LATENTS))[0]
    added = torch.from_numpy(found.values.sum(axis=0) + found.frame + found.constant).float()
    torch.testing.assert_close(added, whole, atol=2e-4, rtol=0)
    words = ["Fault", "-", "tolerant", "qubits", ",", "naïvely", ":", "量", "子", "codes", "!"]
    assert found.words == words[: len(found.words)] and found.truncated == (limit is not None)
    assert limit is not None or found.words == words
    assert (found.of(17) == found.values[:, 1]).all()
    assert set(found.top(17, 2)) <= {word for word in words if word.isalnum()}


def test_a_word_in_pieces_is_one_word(sae, minilm):
    sae.cfg["max_seq_length"] = None
    assert len(minilm.tokenizer.tokenize("naïvely")) > 1
    assert highlight(sae, "naïvely", [0], minilm).words == ["naïvely"]


def test_other_models_and_encoders_are_told_in_a_sentence(sae, minilm, make_cfg):
    pooled_by_cls = SentenceTransformer(modules=[minilm[0], Pooling(384, "cls")], device="cpu")
    for model, sentence in ((pooled_by_cls, "this one by cls"), (object(), "this one is not")):
        with pytest.raises(InputError, match=sentence):
            highlight(sae, TEXT, LATENTS, model)
    with pytest.raises(InputError, match="MatchingPursuitSAE has no encoder matrix"):
        highlight(MatchingPursuitSAE(make_cfg(act_size=384)), TEXT, LATENTS, minilm)

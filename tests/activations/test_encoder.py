from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from sae_kedro import InputError
from sae_kedro.activations.encoder import TextEncoder
from stub_models import HashModel


@pytest.fixture
def make_encoder(make_cfg):
    def make(model, **options):
        return TextEncoder(make_cfg(**({"act_size": 384, "dtype": "float32"} | options)), model)

    return make


@pytest.fixture(scope="module")
def texts(docs) -> list[str]:
    """Real paragraphs from 5 characters to beyond the 256 tokens that MiniLM reads, short and long ones mixed."""
    return [*docs[:12], "Hello", " ".join(docs[:12]), "¿Qué? 漢字 😀", *docs[12:20], "  spaces around  "]


def weights(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def test_float32_embeddings_equal_sentence_transformers_in_the_order_given(make_encoder, minilm, texts):
    expected = minilm.encode(texts)
    vectors = make_encoder(minilm).encode(texts)
    assert vectors.dtype == torch.float32 and vectors.shape == (len(texts), 384)
    np.testing.assert_allclose(vectors.numpy(), expected, atol=1e-5, rtol=0)


def test_a_model_loaded_by_name_gives_the_same_embeddings(make_encoder, minilm, texts):
    np.testing.assert_array_equal(make_encoder(None).encode(texts[:8]), make_encoder(minilm).encode(texts[:8]))


def test_max_seq_length_equals_the_model_with_that_limit(make_encoder, minilm, texts, monkeypatch):
    whole = minilm.encode(texts)
    vectors = make_encoder(minilm, max_seq_length=12).encode(texts)
    assert minilm.max_seq_length == 256
    monkeypatch.setattr(minilm, "max_seq_length", 12)
    expected = minilm.encode(texts)
    np.testing.assert_allclose(vectors.numpy(), expected, atol=1e-5, rtol=0)
    assert np.abs(expected - whole).max() > 0.01


def test_max_seq_length_beyond_the_model_is_the_models_own(make_encoder, minilm, texts):
    long = [" ".join(texts[:12])]
    np.testing.assert_allclose(make_encoder(minilm, max_seq_length=4096).encode(long), minilm.encode(long), atol=1e-5)


def test_a_tokenizer_without_a_limit_is_not_given_one(make_encoder, minilm, texts, monkeypatch):
    # Transformers writes "no limit" as 1e30, which its fast tokenizers refuse as a number.
    expected = minilm.encode(texts[:4])
    monkeypatch.setattr(minilm, "max_seq_length", int(1e30))
    np.testing.assert_allclose(make_encoder(minilm).encode(texts[:4]), expected, atol=1e-5)


def test_the_default_prompt_is_prepended(make_encoder, minilm, texts, monkeypatch):
    plain = make_encoder(minilm).encode(texts[:8])
    monkeypatch.setattr(minilm, "prompts", {"query": "Find what answers this question: "})
    np.testing.assert_array_equal(make_encoder(minilm).encode(texts[:8]), plain)
    monkeypatch.setattr(minilm, "default_prompt_name", "query")
    prompted = make_encoder(minilm).encode(texts[:8])
    np.testing.assert_allclose(prompted, minilm.encode(texts[:8]), atol=1e-5)
    assert (prompted - plain).abs().max() > 0.01


def test_a_prompt_that_pooling_leaves_out_is_left_out(make_encoder, minilm, texts, monkeypatch):
    monkeypatch.setattr(minilm, "prompts", {"query": "Find what answers this question: "})
    monkeypatch.setattr(minilm, "default_prompt_name", "query")
    with_prompt = minilm.encode(texts[:8])
    monkeypatch.setattr(minilm[1], "include_prompt", False)
    without = minilm.encode(texts[:8])
    assert np.abs(without - with_prompt).max() > 0.01
    np.testing.assert_allclose(make_encoder(minilm).encode(texts[:8]), without, atol=1e-5)


def test_truncated_embeddings_equal_sentence_transformers(make_encoder, minilm, texts):
    with minilm.truncate_embeddings(100):
        expected = minilm.encode(texts[:8])
        vectors = make_encoder(minilm, act_size=100).encode(texts[:8])
    assert vectors.shape == (8, 100)
    np.testing.assert_allclose(vectors, expected, atol=1e-5)


def test_bfloat16_is_close_to_float32_and_leaves_the_callers_model_as_it_was(make_encoder, minilm, texts):
    before = weights(minilm)
    vectors = make_encoder(minilm, dtype="bfloat16").encode(texts[:24])
    exact = make_encoder(minilm).encode(texts[:24])
    assert vectors.dtype == torch.float32
    assert torch.cosine_similarity(vectors, exact).mean() > 0.999
    assert not torch.equal(vectors, exact)
    assert {tensor.dtype for tensor in minilm.state_dict().values()} == {tensor.dtype for tensor in before.values()}
    assert all(torch.equal(tensor, before[name]) for name, tensor in minilm.state_dict().items())


@pytest.mark.parametrize("budget", [1, 300, 4096])
def test_batches_stay_within_the_token_budget_padding_included(make_encoder, minilm, texts, budget):
    shapes, done = [], []
    with minilm[0].register_forward_pre_hook(lambda _, inputs: shapes.append(inputs[0]["input_ids"].shape)):
        make_encoder(minilm, model_batch_size=budget).encode(texts, done.append)
    assert all(rows * longest <= budget or rows == 1 for rows, longest in shapes)
    # A batch ends where the next text, which is no longer than its own, has no room, or half full where lengths change.
    assert all(2 * (rows + 1) * longest > budget for rows, longest in shapes[:-1])
    assert done == [rows for rows, _ in shapes]
    assert sum(done) == len(texts)


def test_batches_end_where_the_length_changes_so_that_nothing_is_padded(make_encoder, minilm):
    encoder = make_encoder(minilm, model_batch_size=100)
    lengths = [10] * 7 + [9] * 8 + [5] * 30
    batches = list(encoder._batches(lengths))
    assert [[lengths[row] for row in batch] for batch in batches] == [[10] * 7, [9] * 8, [5] * 20, [5] * 10]
    # Fewer than half a batch of one length: it is filled up with shorter ones.
    assert [len(batch) for batch in encoder._batches([10] * 3 + [9] * 20)] == [10, 11, 2]


def test_tokens_made_beforehand_change_nothing(make_encoder, minilm, texts):
    encoder = make_encoder(minilm)
    tokens = encoder.tokenise(texts[:20])
    assert tokens is not None and len(tokens["input_ids"]) == 20
    assert torch.equal(encoder.encode(texts[:20], tokens=tokens), encoder.encode(texts[:20]))
    assert make_encoder(HashModel(), act_size=16).tokenise(["one"]) is None


def test_no_texts_give_no_rows(make_encoder, minilm):
    assert make_encoder(minilm).encode([]).shape == (0, 384)
    assert make_encoder(HashModel(), act_size=16).encode([]).shape == (0, 16)


def test_an_object_with_encode_is_enough(make_encoder):
    vectors = make_encoder(HashModel(), act_size=16).encode(["one", "two"])
    assert vectors.dtype == torch.float32
    np.testing.assert_array_equal(vectors, HashModel().encode(["one", "two"]))


@pytest.mark.parametrize("model", ["real", "stub"])
def test_a_wrong_act_size_names_both_sizes(make_encoder, minilm, model):
    model, size = (minilm, 384) if model == "real" else (HashModel(16), 16)
    with pytest.raises(InputError) as error:
        make_encoder(model, act_size=20).encode(["one"])
    assert str(error.value) == (
        f"act_size=20 does not match the model, whose embeddings have size {size}; set act_size to {size} or null"
    )


def test_a_models_fingerprint_follows_its_weights(make_encoder, minilm):
    twin = copy.deepcopy(minilm)
    assert make_encoder(twin).fingerprint == make_encoder(minilm).fingerprint
    with torch.no_grad():
        next(twin.parameters())[7, 7] += 1e-3
    assert make_encoder(twin).fingerprint != make_encoder(minilm).fingerprint


def test_a_fingerprint_follows_all_that_decides_the_vectors(make_encoder, minilm, monkeypatch):
    prints = [
        make_encoder(minilm).fingerprint,
        make_encoder(minilm, dtype="bfloat16").fingerprint,
        make_encoder(minilm, max_seq_length=12).fingerprint,
        make_encoder(None).fingerprint,
        make_encoder(None, max_seq_length=12).fingerprint,
    ]
    with minilm.truncate_embeddings(100):
        prints.append(make_encoder(minilm).fingerprint)
    monkeypatch.setattr(minilm, "max_seq_length", 128)
    prints.append(make_encoder(minilm).fingerprint)
    monkeypatch.setattr(minilm, "prompts", {"query": "Find: ", "title": "Title: "})
    prints.append(make_encoder(minilm).fingerprint)
    monkeypatch.setattr(minilm, "default_prompt_name", "query")
    prints.append(make_encoder(minilm).fingerprint)
    monkeypatch.setattr(minilm, "default_prompt_name", "title")
    prints.append(make_encoder(minilm).fingerprint)
    assert len(set(prints)) == len(prints)


def test_a_fingerprint_is_blind_to_what_only_changes_the_speed(make_encoder, minilm):
    assert make_encoder(minilm, model_batch_size=64).fingerprint == make_encoder(minilm).fingerprint


def test_an_object_without_weights_has_no_fingerprint(make_encoder):
    assert make_encoder(HashModel(), act_size=16).fingerprint is None

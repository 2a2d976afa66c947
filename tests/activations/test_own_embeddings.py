from __future__ import annotations

import json
import logging

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from sae_kedro import ActivationsStoreSBERT, InputError, fit, get_experiment_cfg, post_init_cfg, sae_classes, train
from sae_kedro.activations import chunks as chunks_module
from sae_kedro.activations import ready as ready_module
from sae_kedro.activations import store as store_module
from sae_kedro.activations.labels import labelled_rows
from sae_kedro.corpora.base import rejected
from sae_kedro.corpora.opening import open_corpus, open_labels
from sae_kedro.evaluation.measures import similarity
from sae_kedro.pipelines.evaluate.nodes import evaluate_sae
from stub_models import HashModel

N = 300
TEXTS = [f"text {number}" for number in range(N)]
X = HashModel().encode(TEXTS).astype(np.float16)


class HalfModel(HashModel):
    """What made `X`."""

    def encode(self, texts):
        return super().encode(texts).astype(np.float16).astype(np.float32)


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch):
    for module in (chunks_module, ready_module, store_module):
        monkeypatch.setattr(module, "SHARD_SIZE", 32)


@pytest.fixture
def own_cfg(make_cfg):
    """Small configurations in which the size of embeddings is not given."""

    def make(**overrides):
        small = {"act_size": None, "num_examples": None, "eval_fraction": 0.2, "buffer_size": 64}
        return make_cfg(**(small | overrides))

    return make


def lists(x, kind=None):
    """Put rows into an Arrow array of lists."""
    return pa.array([None if row is None else list(row) for row in x], kind)


FIXED = pa.list_(pa.float16(), 16)


def write(file, columns, kind=FIXED):
    """Write columns, `embedding` as lists of `kind`, in the format that the file's name says."""
    columns = {
        name: lists(values, kind) if name == "embedding" else pa.array(values) for name, values in columns.items()
    }
    table = pa.table(columns)
    if file.suffix == ".parquet":
        pq.write_table(table, file, row_group_size=70)
    elif file.suffix == ".arrow":
        with pa.ipc.new_file(str(file), table.schema) as writer:
            writer.write_table(table, max_chunksize=70)
    else:
        file.write_text("".join(json.dumps(row, default=float) + "\n" for row in table.to_pylist()))
    return str(file)


def weights(store, cfg):
    """Train on a store, and return all weights."""
    return train(sae_classes[cfg["sae_type"]](cfg), store, cfg).state_dict()


def same(a, b):
    return all(torch.equal(a[name], b[name]) for name in a)


def test_every_way_in_gives_the_weights_of_the_texts(tmp_path, own_cfg):
    corpus = tmp_path / "texts.jsonl"
    corpus.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    cfg = own_cfg(act_size=16, dataset_path=str(corpus))
    expected = weights(ActivationsStoreSBERT(HalfModel(), cfg), cfg)
    columns = {"text": TEXTS, "embedding": X}
    for name, kind in [
        ("fixed.parquet", FIXED),
        ("lists.parquet", pa.list_(pa.float32())),
        ("large.parquet", pa.large_list(pa.float64())),
        ("file.arrow", FIXED),
        ("rows.jsonl", FIXED),
    ]:
        given = own_cfg(dataset_path=write(tmp_path / name, columns, kind), embedding_column="embedding")
        assert (given["act_size"], given["model_name"]) == (16, None)
        assert same(weights(ActivationsStoreSBERT(None, given), given), expected), name
    np.save(tmp_path / "vectors.npy", X)
    beside = own_cfg(dataset_path=str(corpus), embedding_column=str(tmp_path / "vectors.npy"))
    assert same(weights(ActivationsStoreSBERT(None, beside), beside), expected)
    datasets.Dataset.from_dict({"text": TEXTS, "embedding": X.tolist()}).save_to_disk(str(tmp_path / "saved"))
    saved = own_cfg(dataset_path=str(tmp_path / "saved"), embedding_column="embedding")
    assert same(weights(ActivationsStoreSBERT(None, saved), saved), expected)
    for x in (X, X.astype(np.float64), torch.from_numpy(X), np.asfortranarray(X)):
        assert same(weights(ActivationsStoreSBERT.from_embeddings(x, cfg, TEXTS), cfg), expected)


@pytest.mark.parametrize("eval_fraction", [0.0, 0.3])
def test_without_texts_the_vectors_decide_the_split(tmp_path, own_cfg, eval_fraction):
    np.save(tmp_path / "vectors.npy", X)
    npy = own_cfg(dataset_path=str(tmp_path / "vectors.npy"), eval_fraction=eval_fraction)
    expected = ActivationsStoreSBERT(None, npy)
    assert 0.6 * eval_fraction * N <= sum(map(len, expected.eval_batches())) <= 1.4 * eval_fraction * N
    parquet = own_cfg(
        dataset_path=write(tmp_path / "v.parquet", {"embedding": X, "id": range(N)}),
        embedding_column="embedding",
        eval_fraction=eval_fraction,
    )
    np.save(tmp_path / "columns.npy", np.asfortranarray(X.astype(np.float64)))
    columns = npy | {"dataset_path": str(tmp_path / "columns.npy")}
    stores = [ActivationsStoreSBERT(None, cfg) for cfg in (parquet, columns)]
    stores.append(ActivationsStoreSBERT.from_embeddings(X, npy))
    for store in stores:
        for part in ("eval_batches", "calibration_batches", "train_batches"):
            assert torch.equal(
                torch.cat([*getattr(store, part)(), torch.empty(0, 16)]),
                torch.cat([*getattr(expected, part)(), torch.empty(0, 16)]),
            )
        assert same(weights(store, npy), weights(expected, npy))


ODD = [*X[:40], np.full(16, np.nan), np.zeros(16), X[40], np.r_[X[41][:15], np.inf], *X[42:60]]
ODD_TEXTS = [*TEXTS[:20], "", None, " ", *TEXTS[23:40], "nan", "zero", *TEXTS[40:60]]


def test_what_is_skipped_is_counted_and_shifts_nothing(tmp_path, own_cfg, caplog):
    columns = {"text": ODD_TEXTS, "embedding": [None if i == 50 else row for i, row in enumerate(ODD)]}
    columns["kind"] = [f"kind of {text}" for text in ODD_TEXTS]
    path = write(tmp_path / "odd.parquet", columns, pa.list_(pa.float32()))
    cfg = own_cfg(dataset_path=path, embedding_column="embedding", label_column="kind", eval_fraction=1.0)
    store = ActivationsStoreSBERT(None, cfg)
    with caplog.at_level(logging.WARNING):
        store.cache.fill()
    skipped = {"empty": 2, "null": 1, "no embedding": 1, "not finite": 2, "all zeros": 1}
    assert store.cache.skipped == skipped and "2 empty" in caplog.text and "1 all zeros" in caplog.text
    kept = [
        (text, row)
        for i, (text, row) in enumerate(zip(ODD_TEXTS, ODD, strict=True))
        if not rejected(text) and i != 50 and np.isfinite(row).all() and np.any(row)
    ]
    assert [text for index in store.cache.iter_shards() for text in store.cache.texts(index)] == [t for t, _ in kept]
    vectors = torch.from_numpy(np.stack([row for _, row in kept]).astype(np.float32))
    assert torch.equal(torch.cat(list(store.eval_batches())), vectors)
    rows = labelled_rows(store, open_labels(cfg))
    assert rows.labels == [f"kind of {text}" for text, _ in kept] and torch.equal(rows.vectors, vectors)
    array = ActivationsStoreSBERT.from_embeddings(np.stack(ODD), own_cfg(eval_fraction=1.0, act_size=16), ODD_TEXTS)
    assert array.cache.skipped == {key: n for key, n in skipped.items() if key != "no embedding"}
    texts = [text for index in array.cache.iter_shards() for text in array.cache.texts(index)]
    assert len(texts) == len(kept) + 1 and [text for text in texts if text != ODD_TEXTS[50]] == [t for t, _ in kept]
    assert sum(map(len, array.eval_batches())) == len(texts)


@pytest.mark.parametrize("limit", [1, 31, 32, 33, 64, 299, 300])
def test_num_examples_holds_and_the_rest_is_told(limit, tmp_path, own_cfg, caplog):
    np.save(tmp_path / "vectors.npy", X)
    store = ActivationsStoreSBERT(
        None, own_cfg(dataset_path=str(tmp_path / "vectors.npy"), num_examples=limit, eval_fraction=1.0)
    )
    store.cache.fill()
    assert store.cache.n_texts == limit
    assert torch.equal(torch.cat(list(store.eval_batches())), torch.from_numpy(X[:limit].astype(np.float32)))
    assert ("num_examples=null takes all" in caplog.text) == (limit < N)


def refused(call):
    with pytest.raises(InputError) as error:
        call()
    assert "\n" not in str(error.value)
    return str(error.value)


def test_bad_embeddings_are_refused_in_one_sentence(tmp_path, own_cfg):
    def opened(**overrides):
        return lambda: list(open_corpus(own_cfg(act_size=16, **overrides)).rows())

    def npy(array):
        np.save(tmp_path / "bad.npy", array)
        return opened(dataset_path=str(tmp_path / "bad.npy"))

    assert "must hold float16, float32 or float64; it holds int8" in refused(npy(X.astype(np.int8)))
    assert "must be a table of one embedding a row, (n, act_size); its shape is (300,)" in refused(npy(X[:, 0]))
    assert "its shape is (0, 16)" in refused(npy(X[:0]))
    assert "cannot be read as npy" in refused(npy(np.array([{}], dtype=object)))
    (tmp_path / "bad.npy").write_bytes(b"nothing of this kind")
    assert "bad.npy cannot be read as npy" in refused(opened(dataset_path=str(tmp_path / "bad.npy")))

    def column(rows, kind, **overrides):
        path = write(tmp_path / "bad.parquet", {"embedding": rows}, kind)
        return opened(dataset_path=path, embedding_column="embedding", **overrides)

    ragged = [list(X[0]), list(X[1][:9]), list(X[2])]
    assert refused(column(ragged, pa.list_(pa.float32()))).endswith(
        "the embedding of row 2 has 9 numbers, and the first one has 16; "
        "set bad_lines=skip to leave such rows out, counted"
    )
    assert len(column(ragged, pa.list_(pa.float32()), bad_lines="skip")()) == 3
    assert "holds lists of int32; embeddings must be float16" in refused(column([[1, 2]], pa.list_(pa.int32())))
    assert "holds no embedding" in refused(column([None, []], pa.list_(pa.float32())))
    assert refused(opened(dataset_path=str(tmp_path / "bad.parquet"), embedding_column="embeding")).endswith(
        "whose columns are embedding; did you mean 'embedding'?"
    )
    assert "text_column='title' is not in" in refused(
        opened(dataset_path=str(tmp_path / "bad.parquet"), embedding_column="embedding", text_column="title")
    )
    (tmp_path / "texts.csv").write_text("text,vector\none,0.5\ntwo,0.25\n")
    assert "must be a list of numbers" in refused(
        opened(dataset_path=str(tmp_path / "texts.csv"), embedding_column="vector")
    )
    np.save(tmp_path / "three.npy", X[:3])
    beside = {"dataset_path": str(tmp_path / "texts.csv"), "embedding_column": str(tmp_path / "three.npy")}
    assert "there are only 2 texts in" in refused(opened(**beside))
    np.save(tmp_path / "three.npy", X[:1])
    assert "there are only 1 embeddings in" in refused(opened(**beside))
    both = {"dataset_path": str(tmp_path / "three.npy"), "embedding_column": str(tmp_path / "three.npy")}
    assert "has no use" in refused(opened(**both))
    assert "label_column='kind' needs a corpus with columns" in refused(
        lambda: open_labels(own_cfg(act_size=16, dataset_path=str(tmp_path / "three.npy"), label_column="kind"))
    )


def test_arrays_in_memory_are_refused_in_one_sentence(own_cfg):
    cfg = own_cfg(act_size=None, model_name=None)
    for x, said in [
        (X[0], "its shape is (16,)"),
        (X.astype(np.int32), "holds int32"),
        (torch.zeros(3, 4, dtype=torch.int8), "holds int8"),
    ]:
        assert said in refused(lambda x=x: ActivationsStoreSBERT.from_embeddings(x, cfg))
    texts = refused(lambda: ActivationsStoreSBERT.from_embeddings(X, cfg | {"act_size": 16}, TEXTS[1:]))
    assert texts == "there are 299 texts for 300 embeddings; give one text for each"
    assert refused(lambda: ActivationsStoreSBERT.from_embeddings(X, cfg | {"act_size": 384})) == (
        "act_size=384 does not match the embeddings, whose size is 16; set act_size=16"
    )


def test_other_texts_need_the_model_to_be_named(tmp_path, own_cfg):
    np.save(tmp_path / "vectors.npy", X)
    cfg = own_cfg(dataset_path=str(tmp_path / "vectors.npy"), sts_path="pairs.csv")
    assert refused(lambda: similarity.check(cfg)) == (
        "sts_path='pairs.csv' needs the model that made the embeddings; set model_name to it"
    )
    assert "set model_name" in refused(lambda: ActivationsStoreSBERT(None, cfg).cache.encoder.for_texts())


def test_fit_and_transform(sparse_data):
    x = sparse_data(2000)
    sae = fit(x.numpy(), dict_size=64, top_k=4, n_epochs=3, device="cpu", batch_size=64)
    assert {key: sae.cfg[key] for key in ("dataset_path", "model_name", "act_size")} == {
        "dataset_path": None,
        "model_name": None,
        "act_size": 16,
    }
    dense = sae.encode(x)
    for given in (x, x.numpy(), x.double().numpy()):
        codes = sae.transform(given, batch_size=300)
        assert codes.shape == (2000, 64) and codes.has_sorted_indices and codes.dtype == np.float32
        assert np.array_equal(codes.toarray(), dense.numpy())
    assert codes.nnz == int((dense != 0).sum()) and sae.transform(x[:0]).shape == (0, 64)
    assert "needs embeddings (n, 16), not texts; these are (3, 15)" in refused(lambda: sae.transform(x[:3, :15]))
    cfg = post_init_cfg(
        get_experiment_cfg(
            act_size=16, dict_size=64, top_k=4, n_epochs=3, device="cpu", batch_size=64, num_examples=None
        )
    )
    assert same(sae.state_dict(), weights(ActivationsStoreSBERT.from_embeddings(x, cfg), cfg))


def test_what_pandas_users_have_will_do(sparse_data):
    x = sparse_data(300).numpy()
    given = {"dict_size": 32, "top_k": 2, "n_epochs": 1, "device": "cpu"}
    texts = pd.Series([f"text {number}" for number in range(300)], index=range(1000, 1300))
    expected = fit(x, list(texts), **given).state_dict()
    for embeddings, column in [(pd.DataFrame(x), texts), (pd.Series(list(x)), texts.to_numpy()), (x.tolist(), texts)]:
        assert same(fit(embeddings, column, **given).state_dict(), expected)
    sae = fit(x, **given)
    assert (sae.transform(x.tolist()) != sae.transform(x)).nnz == 0
    assert "not texts" in refused(lambda: sae.transform(["a text"]))
    assert "holds no embedding that can be used; skipped: {'not finite': 300" in refused(
        lambda: fit(x * np.nan, **given)
    )


def test_an_sae_of_vectors_has_not_the_held_out_part_of_texts(tmp_path, own_cfg, sparse_data):
    x = sparse_data(400)
    texts = [f"text {number}" for number in range(400)]
    sae = fit(x, dict_size=32, top_k=2, n_epochs=1, device="cpu")
    store = ActivationsStoreSBERT.from_embeddings(x, own_cfg(act_size=16), texts)
    assert (sae.cfg["training"]["split_by"], store.split_by) == ("vector", "text")
    cfg = own_cfg(act_size=16)
    assert evaluate_sae(cfg, sae, store).metrics["split"] == "another corpus"
    with_texts = fit(x[:200], texts[:200], dict_size=32, top_k=2, n_epochs=1, device="cpu")
    assert (
        evaluate_sae(cfg, with_texts, store).metrics["split"] == "held_out"
    )  # a hash holds out the same text anywhere


def test_a_model_that_made_them_is_remembered():
    sae = fit(X, TEXTS, "my/model", dict_size=32, top_k=2, n_epochs=1, device="cpu", sae_type="batchtopk")
    assert sae.cfg["model_name"] == "my/model" and sae.cfg["training"]["n_texts"] < N

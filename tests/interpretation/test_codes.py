from __future__ import annotations

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy import sparse

from running import files_in, run_command, run_session
from sae_kedro import ActivationsStoreSBERT, InputError, load_sae, sae_classes, train
from sae_kedro.activations import chunks as chunks_module
from sae_kedro.corpora.opening import open_column
from sae_kedro.interpretation import codes as codes_module
from sae_kedro.interpretation.codes import encode_corpus, write_codes
from stub_models import HashModel

ROWS = [
    {"text": text, "key": f"id {number}", "size": number, "odd": [number, "x"][number % 2]}
    for number, text in enumerate(["first", "", "second", None, *(f"text {number}" for number in range(76))])
]
USED = [row for row in ROWS if row["text"]]


@pytest.fixture
def given(tmp_path, make_cfg, monkeypatch):
    """A configuration, a store of 78 texts in three shards, and an SAE trained on it."""
    monkeypatch.setattr(chunks_module, "SHARD_SIZE", 32)
    (tmp_path / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    cfg = make_cfg(dataset_path=str(tmp_path / "corpus.jsonl"), sae_type="batchtopk")
    store = ActivationsStoreSBERT(HashModel(), cfg)
    return cfg, store, train(sae_classes["batchtopk"](cfg), store, cfg)


def dense_codes(store, sae):
    return np.concatenate([sae.encode(store.cache.read(index).vectors).numpy() for index in store.cache.iter_shards()])


def test_blocks_hold_every_row_in_its_order(given):
    _, store, sae = given
    blocks = list(encode_corpus(sae, store))
    assert [block.first_row for block in blocks] == [0, 32, 64]
    assert [text for block in blocks for text in block.texts] == [row["text"] for row in USED]
    codes = sparse.vstack([block.codes for block in blocks])
    assert np.array_equal(codes.toarray(), dense_codes(store, sae)) and codes.nnz < codes.shape[0] * codes.shape[1] / 4


def test_table_and_matrix_say_the_same(given, tmp_path):
    cfg, store, sae = given
    columns = {name: open_column(cfg, "columns", name) for name in ("key", "size", "odd")}
    told = write_codes(sae, store, tmp_path / "codes", columns)
    expected = dense_codes(store, sae)
    assert told == {"n_texts": 78, "l0": np.count_nonzero(expected) / 78, "folder": str(tmp_path / "codes")}
    assert files_in(tmp_path / "codes").keys() == {"codes.parquet", "codes.npz"}
    matrix = sparse.load_npz(tmp_path / "codes" / "codes.npz")
    assert matrix.format == "csr" and matrix.indices.dtype == np.int32 and matrix.has_canonical_format
    assert np.array_equal(matrix.toarray(), expected)
    table = pq.read_table(tmp_path / "codes" / "codes.parquet")
    assert table.column_names == ["key", "size", "odd", "row", "text", "top_indices", "top_acts"]
    assert table.select(["text", "key", "size"]).to_pylist() == [
        {name: row[name] for name in ("text", "key", "size")} for row in USED
    ]
    assert table["row"].to_pylist() == list(range(78)) and table["odd"].to_pylist() == [str(row["odd"]) for row in USED]
    for row in table.to_pylist():
        assert row["top_acts"] == sorted(row["top_acts"], reverse=True)
        assert [float(expected[row["row"], latent]) for latent in row["top_indices"]] == row["top_acts"]


def test_a_run_that_was_stopped_goes_on(given, tmp_path, monkeypatch):
    _, store, sae = given
    write_codes(sae, store, tmp_path / "whole")
    write_part, encoded = codes_module._write_part, []

    def failing(path, block, *rest):
        encoded.append(block.first_row)
        if len(encoded) == 3:
            raise KeyboardInterrupt
        write_part(path, block, *rest)

    monkeypatch.setattr(codes_module, "_write_part", failing)
    with pytest.raises(KeyboardInterrupt):
        write_codes(sae, store, tmp_path / "codes")
    write_codes(sae, store, tmp_path / "codes")
    assert encoded == [0, 32, 64, 64]
    for name in ("codes.parquet", "codes.npz"):
        assert (tmp_path / "codes" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    with pytest.raises(KeyboardInterrupt):
        encoded[:] = [-1, -1]
        write_codes(sae, store, tmp_path / "codes")
    sae.b_dec.add_(0.01)  # parts of another SAE
    encoded.clear()
    monkeypatch.setattr(
        codes_module,
        "_write_part",
        lambda path, block, *rest: (encoded.append(block.first_row), write_part(path, block, *rest)),
    )
    write_codes(sae, store, tmp_path / "codes")
    assert encoded == [0, 32, 64]


def test_a_folder_that_cannot_be_written_is_told(given, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=f"{tmp_path / 'file'}.* cannot be written: Not a directory"):
        write_codes(given[2], given[1], tmp_path / "file" / "codes")


@pytest.fixture(scope="module")
def root(corpus_file, tmp_path_factory):
    root = tmp_path_factory.mktemp("codes") / "data"
    run_session("train", data_root=root, dataset_path=corpus_file, name="mine")
    return root


def test_the_pipeline_writes_the_codes_of_any_corpus(root, docs, tmp_path):
    corpus = tmp_path / "others.jsonl"
    rows = ({"text": text, "place": place, "kind": "k"} for place, text in enumerate(docs[:50]))
    corpus.write_text("".join(json.dumps(row) + "\n" for row in rows))
    given = {"data_root": root, "dataset_path": corpus, "name": "mine", "id_column": "place", "columns": "kind"}
    result = run_command("--env=test", "--pipelines=codes", **given)
    assert result.exit_code == 0, result.output
    (folder,) = (root / "07_model_output" / "mine").glob("others-*")
    assert f"codes in {folder}" in result.output
    table = pq.read_table(folder / "codes.parquet")
    assert table.column_names[:2] == ["place", "kind"] and table["place"].to_pylist() == list(range(50))
    matrix = sparse.load_npz(folder / "codes.npz")
    assert matrix.shape == (50, 256) and (np.diff(matrix.indptr) == 8).all()
    expected = load_sae(root / "06_models" / "mine").transform(vectors(root, "others"))
    assert np.array_equal(matrix.indices, expected.indices) and np.array_equal(matrix.data, expected.data)


def vectors(root, stem):
    (cache,) = (root / "04_feature" / "embeddings").glob(f"{stem}-*")
    table = pq.read_table(cache / "shard-00000.parquet")
    return table["embedding"].combine_chunks().flatten().to_numpy().reshape(table.num_rows, -1)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"id_column": "numbr"}, "id_column='numbr' is not in "),
        ({"columns": "text"}, "columns holds 'text', which the table of codes has anyway; leave it out"),
        ({"name": "mne"}, "there is no trained SAE of name='mne'"),
    ],
)
def test_bad_input_is_told_before_anything_is_encoded(given, said, root, corpus_file):
    given = {"data_root": root, "dataset_path": corpus_file, "name": "mine"} | given
    result = run_command("--env=test", "--pipelines=codes", **given)
    assert result.exit_code == 1 and result.output.startswith(f"Error: {said}"), result.output

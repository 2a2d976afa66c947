"""Tables of points: the schema that the documentation tells, and places by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from scipy import sparse

from sae_kedro import fit
from sae_kedro.explorer.atlas import MOST, text_map, with_places
from sae_kedro.interpretation.features import Features
from sae_kedro.interpretation.interpret import interpret


@pytest.fixture
def features():
    """Three features of which the last has no label."""
    return Features(
        pd.DataFrame({"latent": [0, 1, 2], "label": ["files", "maths", None], "x": [0.0, 1, 0], "y": [0.0, 0, 1]}), "aa"
    )


def test_texts_lie_among_their_features_the_stronger_the_nearer(features, tmp_path):
    codes = sparse.csr_array(np.array([[1, 3, 0], [0, 0, 2], [0, 0, 0], [2, 1, 1]], dtype=np.float32))
    found = text_map(features, codes, ["a", None, "nothing", "b"])
    found.to_parquet(tmp_path / "texts.parquet", index=False)
    table = pq.read_table(tmp_path / "texts.parquet")
    kinds = {
        name: str(kind).replace("large_", "") for name, kind in zip(table.schema.names, table.schema.types, strict=True)
    }
    assert kinds == {
        "row": "int64",
        "text": "string",
        "x": "float",
        "y": "float",
        "strongest": "string",
        "n_features": "int32",
        "features": "list<element: string>",
        "activations": "list<element: float>",
    }
    assert table["row"].to_pylist() == [0, 1, 2, 3] and table["text"].to_pylist() == ["a", None, "nothing", "b"]
    assert table["x"].to_pylist() == [0.75, 0, None, 0.25] and table["y"].to_pylist() == [0, 1, None, 0.25]
    assert table["strongest"].to_pylist() == ["1 · maths", "2", None, "0 · files"]
    assert table["n_features"].to_pylist() == [2, 1, 0, 3]
    assert table["features"].to_pylist() == [
        ["1 · maths", "0 · files"], ["2"], [], ["0 · files", "1 · maths", "2"],
    ]  # fmt: skip
    assert table["activations"].to_pylist() == [[3, 1], [2], [], [2, 1, 1]]
    assert pd.read_parquet(tmp_path / "texts.parquet")["features"][0].tolist() == ["1 · maths", "0 · files"]


def test_of_many_features_the_strongest_are_listed():
    n = MOST + 5
    table = pd.DataFrame({"latent": range(n), "label": None, "x": 0.5, "y": 0.5})
    found = text_map(Features(table, "aa"), sparse.csr_array(np.arange(1, n + 1, dtype=np.float32)[None]), ["a"])
    (row,) = found["features"]
    assert row.tolist() == [str(i) for i in range(n - 1, 4, -1)]
    assert found["n_features"].tolist() == [n] and found["x"].tolist() == [0.5]


def test_no_text_is_an_empty_table(features):
    assert len(text_map(features, sparse.csr_array((0, 3), dtype=np.float32), [])) == 0


def test_features_have_places_the_same_every_time():
    x = np.random.default_rng(0).standard_normal((80, 8)).astype(np.float32)
    sae = fit(x, dict_size=16, top_k=2, n_epochs=2, device="cpu")
    found = interpret(sae, sae.transform(x), None, x)
    first, second = (with_places(found, sae).table for _ in range(2))
    assert first[["x", "y"]].to_numpy().dtype == np.float32 and first[["x", "y"]].notna().all(axis=None)
    assert (first[["x", "y"]] == second[["x", "y"]]).all(axis=None) and len(first[["x", "y"]].drop_duplicates()) > 8
    assert "x" not in found.table

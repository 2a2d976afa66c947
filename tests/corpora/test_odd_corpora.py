"""Texts and files that nobody wants: each is encoded as it is, or left out and counted, or named in one sentence."""

from __future__ import annotations

import gzip
import json
from datetime import datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from sae_kedro import ActivationsStoreSBERT, InputError, get_experiment_cfg
from sae_kedro.activations import chunks as chunks_module
from sae_kedro.activations.cache import EmbeddingCache
from sae_kedro.activations.encoder import TextEncoder
from sae_kedro.activations.labels import labelled_rows
from sae_kedro.corpora.base import BadLine
from sae_kedro.corpora.opening import open_corpus, open_labels
from stub_models import HashModel

ODD = {
    "NUL": "before\0after",
    "control characters": "\x01\x07\x1b[31mred\x1b[0m\x7f\x85\u2028",
    "right to left": "\u202eמילים בעברית\u202c وكلمات عربية",
    "combining": "e" + "\u0301" * 1000,
    "markup": "<script>alert(1)</script>{{7*7}}${oc.env:HOME}%s%n",
    "astral": "\U0001f600\U0010ffff\ufffe\ufdd0",
    "byte order mark inside": "a\ufeffb",
    "a million newlines": "first" + "\n" * 1_000_000 + "last",
    "ten megabytes": "many words " * 950_000,
    "one word": "x" * 1_000_000,
}
OFFER = "; set bad_lines=skip to leave such lines out, counted"


def opened(file, **options):
    return open_corpus(get_experiment_cfg(dataset_path=str(file), **options))


def encoded(tmp_path, corpus, model=None):
    """Fill a cache, and read it from disk with another object."""
    model = model or HashModel()
    cfg = get_experiment_cfg(act_size=getattr(model, "act_size", 384), dtype="float32", device="cpu")
    EmbeddingCache(tmp_path / "cache", corpus, TextEncoder(cfg, model), None).fill()
    return EmbeddingCache(tmp_path / "cache", corpus, TextEncoder(cfg, model), None)


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_odd_texts_come_out_as_they_went_in(tmp_path, kind):
    texts, file = list(ODD.values()), tmp_path / f"odd.{kind}"
    if kind == "parquet":
        pq.write_table(pa.table({"text": texts}), file)
    elif kind == "jsonl":
        file.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    else:
        quoted = "".join(f'"{text}"\n' for text in texts)  # no quotation mark is in any of them
        file.write_bytes(("text\n" + quoted).encode())
    cache = encoded(tmp_path, opened(file))
    assert cache.texts(0) == texts
    assert torch.equal(cache.read(0).vectors, torch.from_numpy(HashModel().encode(texts)))
    assert cache.skipped == {}


def test_the_real_model_takes_odd_texts(tmp_path, minilm):
    texts = [text[:20_000] for text in ODD.values()] + ["half \ud83d of a pair"]
    (tmp_path / "odd.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    cache = encoded(tmp_path, opened(tmp_path / "odd.jsonl"), minilm)
    assert cache.n_texts == len(texts) and cache.texts(0)[-1] == "half ? of a pair"
    assert cache.read(0).vectors.isfinite().all()


@pytest.mark.fuzz
def test_the_real_model_takes_ten_megabytes(tmp_path, minilm):
    (tmp_path / "odd.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in ODD.values()))
    assert encoded(tmp_path, opened(tmp_path / "odd.jsonl"), minilm).n_texts == len(ODD)


BAD = {
    # name: content, rows under `skip`, sentence under `fail`
    "a.jsonl": (
        b'{"text": "one"}\n{"text": "two"\n\n{"text": "three"}\n',
        ["one", BadLine("not valid JSON"), "three"],
        "line 2: not valid JSON (Expecting ',' delimiter: line 2 column 1 (char 15))",
    ),
    "first.jsonl": (
        b'{"text"\n{"text": "two"}\n',
        [BadLine("not valid JSON"), "two"],
        "line 1: not valid JSON (Expecting ':' delimiter: line 2 column 1 (char 8))",
    ),
    "latin.jsonl": (
        b'{"text": "one"}\n{"text": "caf\xe9"}\n{"text": "three"}\n',
        ["one", BadLine("not UTF-8"), "three"],
        "line 2: not UTF-8",
    ),
    "deep.jsonl": (
        b'{"text": "one"}\n' + b'{"a":' * 200_000 + b'\n{"text": "three"}\n',
        ["one", BadLine("not valid JSON"), "three"],
        "line 2: not valid JSON (",
    ),
    "huge-number.jsonl": (
        b'{"text": "one"}\n{"text": "two", "n": ' + b"9" * 5000 + b"}\n",
        ["one", BadLine("not valid JSON")],
        "line 2: not valid JSON (Exceeds the limit",
    ),
    "a.txt": (b"one\ncaf\xe9\r\nthree", ["one", BadLine("not UTF-8"), "three"], "line 2: not UTF-8"),
    "a.txt.gz": (gzip.compress(b"one\n\xff\nthree"), ["one", BadLine("not UTF-8"), "three"], "line 2: not UTF-8"),
    "fields.csv": (
        b"id,text\n1,one\n2\n3,three\n4,four,more\n\n5,five\n",
        ["one", BadLine("wrong number of fields"), "three", BadLine("wrong number of fields"), "five"],
        "line 3: wrong number of fields (1 instead of 2)",
    ),
    "latin.csv": (
        b"id,text\n1,one\n\xe9,two\n3,three\n",
        ["one", BadLine("not UTF-8"), "three"],
        "line 3: not UTF-8",
    ),
    # A quotation mark that is never closed takes the rest of the file with it: every line of it counts.
    "unclosed.csv": (
        b'id,text\n1,one\n2,"two\n3,three\n4,four\n',
        ["one", *[BadLine("not valid CSV")] * 3],
        "line 3: not valid CSV (unexpected end of data)",
    ),
    "reopened.csv": (
        b'id,text\n1,one\n2,"two\n3,three\n4,"four"\n5,five\n',
        ["one", *[BadLine("not valid CSV")] * 3, "five"],
        "line 3: not valid CSV (',' expected after '\"')",
    ),
    "two-lines.csv": (
        b'id,text\n1,"one\nand a half"\n2,two,"more\nfields"\n3,three\n',
        ["one\nand a half", *[BadLine("wrong number of fields")] * 2, "three"],
        "line 4: wrong number of fields (3 instead of 2)",
    ),
}


@pytest.mark.parametrize("name", list(BAD))
def test_a_bad_line_is_named_or_left_out_and_counted(tmp_path, name, caplog):
    content, rows, sentence = BAD[name]
    (file := tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as caught:
        list(opened(file).rows())
    assert str(caught.value).startswith(f"{file}, {sentence}") and str(caught.value).endswith(OFFER)
    assert "\n" not in str(caught.value)
    corpus = opened(file, bad_lines="skip")
    assert list(corpus.rows()) == rows and list(corpus.rows(1)) == rows[1:]
    cache = encoded(tmp_path, corpus)
    assert cache.texts(0) == [row for row in rows if isinstance(row, str)]
    reason = next(row.reason for row in rows if isinstance(row, BadLine))
    n_bad = sum(isinstance(row, BadLine) for row in rows)
    assert cache.skipped == {reason: n_bad}
    assert f"Skipped rows of {file}: {n_bad} {reason}" in caplog.text


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.json", b'["one", "two"', "line 1: not valid JSON"),
        ("a.json", b'["caf\xe9"]', "cannot be read as json: not UTF-8"),
        ("a.json", b"[" * 200_000, "line 1: not valid JSON"),
        ("a.csv", b"caf\xe9,text\n1,one\n", "line 1, which names the columns: not UTF-8"),
        ("a.csv", b'"id,text\n1,one\n', "line 1, which names the columns: not valid CSV"),
        ("a.txt", "one\ntwo".encode("utf-16"), "is UTF-16; save it as UTF-8"),
        ("a.jsonl.gz", gzip.compress('{"text": "a"}'.encode("utf-16")), "is UTF-16; save it as UTF-8"),
        ("a.txt.gz", gzip.compress(b"one\ntwo\n" * 999)[:-9], "cannot be read as txt: "),
        ("a.jsonl", b'{"\x1b[2J\n": 1}\n'.replace(b"\x1b", b"\\u001b").replace(b'\n"', b'\\n"'), r"'\x1b[2J\n'"),
    ],
)
def test_what_no_line_can_be_left_out_of_is_refused(tmp_path, name, content, sentence):
    (file := tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as caught:
        list(opened(file, bad_lines="skip").rows())
    assert sentence in str(caught.value) and str(file) in str(caught.value)
    assert str(caught.value).isprintable() and OFFER not in str(caught.value)


def test_a_corpus_of_bad_lines_alone_is_refused_with_their_number(tmp_path):
    (file := tmp_path / "a.jsonl").write_bytes(b"{\n{\n")
    with pytest.raises(InputError, match=r"every row of 'text' is not a text \(2 not valid JSON\)"):
        opened(file, bad_lines="skip")


def test_the_policy_is_part_of_the_key_of_the_cache(tmp_path):
    (file := tmp_path / "a.jsonl").write_text('{"text": "one"}\n')
    assert opened(file).fingerprint != opened(file, bad_lines="skip").fingerprint


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("a.jsonl", [b'{"text": "x", "kind": 7', b'{"text": "caf\xe9", "kind": 7}', b"[1, 2", b"7", b'"a text alone"']),
        ("a.csv", [b"7", b'x,"un"closed', b"caf\xe9,7", b"x,7,7", b'x,"two\nlines",7']),
    ],
)
@pytest.mark.parametrize("zipped", [False, True])
def test_labels_stay_beside_their_texts_when_lines_are_left_out(tmp_path, make_cfg, monkeypatch, name, bad, zipped):
    monkeypatch.setattr(chunks_module, "SHARD_SIZE", 8)
    lines = []
    for number in range(50):
        text, kind = f"text {number}", f"kind {number}"
        good = json.dumps({"text": text, "kind": kind}).encode() if name == "a.jsonl" else f"{text},{kind}".encode()
        lines += [good, bad[number % len(bad)]]
    content = b"\n".join([*([b"text,kind"] if name == "a.csv" else []), *lines, b""])
    (file := tmp_path / (name + ".gz" * zipped)).write_bytes(gzip.compress(content) if zipped else content)
    cfg = make_cfg(dataset_path=str(file), label_column="kind", bad_lines="skip", eval_fraction=1.0)
    store = ActivationsStoreSBERT(HashModel(), cfg)
    found = labelled_rows(store, open_labels(cfg))
    assert found.labels == [f"kind {number}" for number in range(50)]
    expected = HashModel().encode([f"text {number}" for number in range(50)])
    assert torch.equal(found.vectors, torch.from_numpy(expected))


@pytest.mark.parametrize(
    "column",
    [
        pa.array([1, 2]),
        pa.array([1.5, None]),
        pa.array([b"a", b"b"]),
        pa.array([True, False]),
    ],
)
def test_a_column_that_holds_no_text_is_refused(tmp_path, column):
    pq.write_table(pa.table({"text": column}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r"every row of 'text' is not a text \("):
        opened(tmp_path / "a.parquet")


def test_dates_are_no_texts_and_impossible_ones_are_refused(tmp_path):
    pq.write_table(pa.table({"text": [datetime(2020, 1, 1)]}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match="holds no text"):
        opened(tmp_path / "a.parquet")
    pq.write_table(pa.table({"text": pa.array([2**62], pa.timestamp("ms"))}), tmp_path / "b.parquet")
    with pytest.raises(InputError, match=r"b\.parquet cannot be read as parquet"):
        opened(tmp_path / "b.parquet")


def test_numbers_in_a_csv_column_are_texts(tmp_path):
    (tmp_path / "a.csv").write_text("text\n1\n2.5\n")
    assert list(opened(tmp_path / "a.csv").rows()) == ["1", "2.5"]


def test_a_glob_takes_files_and_not_the_folders_it_matches(tmp_path):
    (tmp_path / "a.txt").write_text("one")
    (tmp_path / "folder.txt").mkdir()
    (tmp_path / "folder.txt" / "b.txt").write_text("two")
    assert list(opened(tmp_path / "*.txt").rows()) == ["one"]
    (tmp_path / "a.txt").unlink()
    with pytest.raises(InputError, match=r"dataset_path='.*\*\.txt' matches no \.arrow, .*, \.parquet files"):
        opened(tmp_path / "*.txt")


@pytest.mark.parametrize("path", ["x" * 5000 + ".txt", "nul\0.txt", "~nobody-of-this-name/x.txt", "[.txt"])
def test_a_path_that_no_file_can_have_is_refused(path):
    with pytest.raises(InputError, match=r"dataset_path='.*' (does not exist|cannot be read: File name too long)"):
        opened(path)


def test_a_hub_dataset_with_a_bad_line_is_refused(tmp_path):
    from test_texts import HubCopy

    (tmp_path / "train.jsonl").write_text('{"text": "one"}\n{"text": \n')
    with pytest.raises(InputError, match="^dataset_path=") as caught:
        list(HubCopy(str(tmp_path), get_experiment_cfg()).rows())
    assert "\n" not in str(caught.value)

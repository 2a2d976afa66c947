from __future__ import annotations

import json

import pytest
import torch

from sae_kedro import ActivationsStoreSBERT, InputError
from sae_kedro.activations import chunks as chunks_module
from sae_kedro.activations.labels import labelled_rows
from sae_kedro.corpora.opening import open_labels
from stub_models import HashModel, NotFiniteModel


@pytest.fixture
def labelled(tmp_path, make_cfg, monkeypatch):
    """Write rows as a corpus and return its store and its labels."""
    monkeypatch.setattr(chunks_module, "SHARD_SIZE", 32)

    def make(rows, model=None, **options):
        file = tmp_path / "corpus.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        small = {"eval_fraction": 1.0, "num_examples": None, "label_column": "kind"}
        cfg = make_cfg(**(small | {"dataset_path": str(file)} | options))
        return ActivationsStoreSBERT(model or HashModel(), cfg), open_labels(cfg)

    return make


def test_every_text_for_training_or_held_out_has_its_own_label(labelled):
    texts = [f"text {number}" for number in range(100)]
    store, labels = labelled([{"text": text, "kind": f"label of {text}"} for text in texts], eval_fraction=0.3)
    rows = labelled_rows(store, labels)
    held_out = torch.from_numpy(rows.held_out)
    assert torch.equal(rows.vectors[held_out], torch.cat(list(store.eval_batches())))
    assert torch.equal(rows.vectors[~held_out], torch.cat(list(store.train_batches())))
    expected = torch.from_numpy(HashModel().encode([label.removeprefix("label of ") for label in rows.labels]))
    assert torch.equal(rows.vectors, expected) and 10 < int(held_out.sum()) < 50
    assert len(rows.labels) == len(rows.hashes) == len(held_out) < 100  # those that calibrate have none


def test_rows_that_are_left_out_do_not_shift_labels(labelled):
    rows = []
    for number in range(100):
        rows.append({"text": f"text {number}", "kind": number})
        rows.append({"text": [None, "", "  ", 7, f"NaN {number}", f"infinity {number}"][number % 6], "kind": -1})
        rows.append({"text": "the same every time", "kind": 1000 + number})
    rows += [{"text": f"no label {number}", "kind": kind} for number, kind in enumerate([None, "", "  "])]
    store, labels = labelled(rows, NotFiniteModel())
    found = labelled_rows(store, labels)
    assert found.labels == [str(kind) for number in range(100) for kind in (number, 1000 + number)]
    plain = NotFiniteModel().encode([f"text {number}" for number in range(100)])
    assert torch.equal(found.vectors[0::2], torch.from_numpy(plain))


def test_no_more_than_num_examples_and_about_as_many_as_asked(labelled):
    store, labels = labelled([{"text": f"text {number}", "kind": number} for number in range(1000)], num_examples=900)
    assert labelled_rows(store, labels).labels == [str(number) for number in range(900)]
    some = labelled_rows(store, labels, most=300)
    assert 240 < len(some.labels) < 360 and max(map(int, some.labels)) > 800  # of the whole corpus


def test_a_corpus_that_changed_meanwhile_is_noticed(labelled, tmp_path):
    store, labels = labelled([{"text": f"text {number}", "kind": number} for number in range(50)])
    list(store.eval_batches())
    (tmp_path / "corpus.jsonl").write_text('{"text": "another", "kind": 1}\n')
    with pytest.raises(InputError, match="no longer holds the texts that were encoded"):
        labelled_rows(store, labels)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        (
            "a.jsonl",
            '{"text": "a", "label": 1}\n',
            "label_column='labl' is not in {file}, whose columns are text, label",
        ),
        ("a.csv", "text,label\na,1\n", "did you mean 'label'?"),
        ("a.json", '["a", "b"]', "label_column='labl' is not in {file}, whose columns are none"),
        ("a.txt", "a\n", "label_column='labl' needs a corpus with columns, and '{file}' has none; set it to null"),
    ],
)
def test_a_column_that_is_not_there_is_refused(make_cfg, tmp_path, name, content, sentence):
    (file := tmp_path / name).write_text(content)
    with pytest.raises(InputError) as caught:
        open_labels(make_cfg(dataset_path=str(file), label_column="labl"))
    assert sentence.format(file=file) in str(caught.value)


def test_docstrings_have_no_labels(make_cfg):
    with pytest.raises(InputError, match="needs a corpus with columns, and 'python-docs' has none"):
        open_labels(make_cfg(label_column="kind"))

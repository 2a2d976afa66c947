from __future__ import annotations

import gzip
import json

import pytest

from sae_kedro import InputError
from sae_kedro.evaluation.text_sets import read_pairs, read_retrieval


@pytest.mark.parametrize("kind", ["jsonl", "csv", "jsonl.gz"])
def test_pairs_are_read_from_json_lines_and_csv(tmp_path, kind):
    rows = [
        {"score": 5.0, "sentence1": "A dog.", "sentence2": "A hound."},
        {"score": 0, "sentence1": "x", "sentence2": "y"},
    ]
    file = tmp_path / f"pairs.{kind}"
    text = "".join(json.dumps(row) + "\n" for row in rows)
    if kind == "csv":
        text = "sentence1,sentence2,score,genre\nA dog.,A hound.,5.0,news\nx,y,0,news\n"
    file.write_bytes(gzip.compress(text.encode()) if kind.endswith("gz") else text.encode())
    assert read_pairs(str(file)) == (["A dog.", "x"], ["A hound.", "y"], [5.0, 0.0])


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.csv", "sentence1,sentence_2,score\na,b,1\n", "column='sentence2' is not in {file}, whose columns are"),
        ("a.csv", "sentence1,sentence_2,score\na,b,1\n", "did you mean 'sentence_2'?"),
        ("a.csv", "sentence1,sentence2,score\na,b,1\na,,1\n", "pair 2 must be two texts and a number"),
        ("a.csv", "sentence1,sentence2,score\na,b,high\n", "pair 1 must be two texts and a number"),
        ("a.csv", "sentence1,sentence2,score\n", "holds no pair"),
        ("a.parquet", "PAR1", "sts_path='{file}' is not a .jsonl or .csv file, plain or compressed"),
        ("a.jsonl", "{", "{file}, line 1: not valid JSON"),
    ],
)
def test_a_file_that_holds_no_pairs_is_refused(tmp_path, name, content, sentence):
    file = tmp_path / name
    file.write_text(content)
    with pytest.raises(InputError) as caught:
        read_pairs(str(file))
    assert sentence.format(file=file) in str(caught.value) and "\n" not in str(caught.value)


def test_a_file_that_is_not_there_names_a_sibling(tmp_path):
    (tmp_path / "pairs.csv").touch()
    with pytest.raises(InputError, match=r"sts_path='.*pair.csv' does not exist; did you mean 'pairs.csv'\?"):
        read_pairs(str(tmp_path / "pair.csv"))
    with pytest.raises(InputError, match="retrieval_path='.*scifact' does not exist"):
        read_retrieval(str(tmp_path / "scifact"))


@pytest.fixture
def beir(tmp_path):
    queries = [
        {"_id": "q1", "text": "What barks?"},
        {"_id": "q2", "text": "Unjudged"},
        {"_id": "q3", "text": "No match"},
    ]
    documents = [
        {"_id": "1", "title": "Dogs", "text": "They bark."},
        {"_id": "2", "text": "Cats."},
        {"_id": "3", "text": ""},
    ]
    for name, rows in (("queries", queries), ("corpus", documents)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\nq1\t1\t2\nq1\t2\t0\nq3\t2\t0\n")
    return tmp_path


def test_a_beir_folder_is_read(beir):
    found = read_retrieval(str(beir))
    assert found.queries == {"q1": "What barks?"}  # only judged ones
    assert found.documents == {"1": "Dogs They bark.", "2": "Cats."}  # only those with a text
    assert found.relevance == {"q1": {"1": 2}}
    (beir / "qrels").mkdir()
    (beir / "qrels.tsv").rename(beir / "qrels" / "test.tsv")  # where BEIR itself has it
    assert read_retrieval(str(beir)) == found


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("corpus.jsonl", None, "it has no corpus.jsonl; did you mean 'corpus2.jsonl'?"),
        ("qrels.tsv", None, "it has no qrels.tsv"),
        ("queries.jsonl", '{"id": 1}\n', "queries.jsonl, line 1 is not a JSON object with _id and text"),
        ("qrels.tsv", "a\tb\tc\nq1 1 2\n", "qrels.tsv, line 2 must hold a query id, a document id and a whole score"),
        (
            "qrels.tsv",
            "a\tb\tc\nq1\t1\t0.5\n",
            "qrels.tsv, line 2 must hold a query id, a document id and a whole score",
        ),
        ("qrels.tsv", "q1\t1\tinf\n", "qrels.tsv, line 1 must hold a query id, a document id and a whole score"),
        ("qrels.tsv", "a\tb\tc\nq9\t1\t1\n", "no query has a relevant document; check the ids in qrels.tsv"),
    ],
)
def test_a_folder_that_is_no_retrieval_set_is_refused(beir, name, content, sentence):
    if content is None:
        (beir / name).rename(beir / name.replace(".", "2."))
    else:
        (beir / name).write_text(content)
    with pytest.raises(InputError) as caught:
        read_retrieval(str(beir))
    assert sentence in str(caught.value) and str(caught.value).startswith("retrieval_path")

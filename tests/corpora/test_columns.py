"""Paths into columns, columns that are joined, and tables of every kind."""

from __future__ import annotations

import csv
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sae_kedro import InputError, get_experiment_cfg
from sae_kedro.corpora.opening import open_corpus, open_labels

RECORDS = [
    {"id": 1, "meta": {"body": "one", "lang": "en"}, "messages": [{"role": "a", "content": "hi"}], "tags": ["x"]},
    {"id": 2, "meta": {"body": None, "lang": "en"}, "messages": [], "tags": ["y", "z"]},
    {"id": 3, "meta": None, "messages": [{"role": "a", "content": "ho"}, {"role": "b", "content": "hum"}], "tags": []},
]
TITLES = [{"title": "A", "abstract": "alpha"}, {"title": "B", "abstract": None}, {"title": None, "abstract": None}]


@pytest.fixture(params=["jsonl", "json", "parquet"])
def write(request, tmp_path):
    """Write records as a file of one of the formats that hold objects."""

    def write(records):
        file = tmp_path / f"records.{request.param}"
        if request.param == "parquet":
            pq.write_table(pa.Table.from_pylist(records), file)
        elif request.param == "json":
            file.write_text(json.dumps(records))
        else:
            file.write_text("".join(json.dumps(record) + "\n" for record in records))
        return file

    return write


def rows(file, column, start=0, **options):
    return list(open_corpus(get_experiment_cfg(dataset_path=str(file), text_column=column, **options)).rows(start))


def test_a_path_walks_into_objects(write):
    assert rows(write(RECORDS), "meta.body") == ["one", None, None]


def test_where_a_path_meets_a_list_each_element_is_a_row(write):
    file = write(RECORDS)
    assert rows(file, "messages.content") == ["hi", "ho", "hum"]
    assert rows(file, "messages.content", 2) == ["hum"]
    assert rows(file, "tags") == ["x", "y", "z"]


def test_columns_are_joined_by_a_newline_and_nulls_left_out(write):
    assert rows(write(TITLES), "title+abstract") == ["A\nalpha", "B", None]


def test_what_is_joined_and_no_text_is_not_made_one(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"a": "A", "b": "B"}\n{"a": "A", "b": 7}\n')
    assert rows(tmp_path / "a.jsonl", "a+b") == ["A\nB", 7]


def test_a_column_whose_own_name_has_a_dot_or_a_plus_is_that_column(write):
    file = write([{"a.b": "one", "a": {"b": "two"}, "c+d": "three", "c": "no", "d": "no"}])
    assert (rows(file, "a.b"), rows(file, "c+d")) == (["one"], ["three"])


@pytest.mark.parametrize(
    ("column", "sentence"),
    [
        ("meta", "text_column='meta' is an object in {file}, not a value; choose one of meta.body, meta.lang"),
        ("messages", "text_column='messages' is an object in {file}, not a value; choose one of messages."),
        ("meta.bdy", "text_column='meta.bdy' is not in {file}, whose columns are meta.body, meta.lang; did you mean"),
        ("mata.body", "text_column='mata.body' is not in {file}, whose columns are id, meta, messages, tags"),
        ("id+bdy", "text_column='id+bdy' is not in {file}, whose columns are id, meta, messages, tags"),
    ],
)
def test_what_leads_to_no_value_is_refused_with_the_paths_that_do(write, column, sentence):
    file = write(RECORDS)
    with pytest.raises(InputError) as caught:
        rows(file, column)
    assert str(caught.value).startswith(sentence.format(file=file))


def test_a_label_is_repeated_for_each_text_of_its_record(write):
    file = write(RECORDS)
    cfg = get_experiment_cfg(dataset_path=str(file), text_column="messages.content", label_column="id")
    assert list(open_labels(cfg).rows()) == [1, 3, 3]
    cfg = get_experiment_cfg(dataset_path=str(file), text_column="meta.body", label_column="meta.lang")
    assert list(open_labels(cfg).rows()) == ["en", "en", None]
    cfg = get_experiment_cfg(dataset_path=str(file), text_column="id", label_column="tags")
    assert list(open_labels(cfg).rows()) == ["x", "y", None]  # an empty list shifts no label


@pytest.mark.parametrize("delimiter", [";", "\t", "|", ","])
def test_what_separates_the_fields_of_a_csv_file_is_told_by_its_header(tmp_path, delimiter):
    with (tmp_path / "a.csv").open("w", newline="") as handle:
        csv.writer(handle, delimiter=delimiter).writerows([["id", "text"], [1, f"one{delimiter} two"], [2, "three"]])
    assert rows(tmp_path / "a.csv", "text") == [f"one{delimiter} two", "three"]
    assert rows(tmp_path / "a.csv", "id") == ["1", "2"]  # all values of a table are texts


def test_one_column_needs_nothing_to_separate_it(tmp_path):
    (tmp_path / "a.csv").write_text('text\n"one, two"\nthree\n')
    assert rows(tmp_path / "a.csv", "text") == ["one, two", "three"]


def test_columns_of_a_table_are_joined(tmp_path):
    (tmp_path / "a.csv").write_text("title,abstract\nA,alpha\nB,beta\n")
    assert rows(tmp_path / "a.csv", "title + abstract") == ["A\nalpha", "B\nbeta"]


TABBED = {
    "marks are letters": ('text\tlabel\n"one\t0\ntwo"\t1\n"three" or so\t2\n', ['"one', 'two"', '"three" or so']),
    "marks are letters in the last field": ('label\ttext\n0\t"one\n1\ttwo"\n', ['"one', 'two"']),
    "quoted": ('text\tlabel\n"one ""1"""\t0\n"two"\t1\n', ['one "1"', "two"]),
    "quoted over lines": ('label\ttext\n0\t"one\n\nand more"\n1\ttwo\n', ["one\n\nand more", "two"]),
    "a tab within marks": ('text\tlabel\n"one\tand"\t0\ntwo\t1\n', ["one\tand", "two"]),
    "never closed": ('label\ttext\n0\tone\n1\t"two\n2\tthree\n', ["one", '"two', "three"]),
    "an empty line": ("text\tlabel\none\t0\n\ntwo\t1\n", ["one", "two"]),
}


@pytest.mark.parametrize("name", TABBED)
def test_no_line_of_a_tab_separated_file_is_lost_or_merged(tmp_path, name):
    content, texts = TABBED[name]
    (tmp_path / "a.tsv").write_text(content)
    assert rows(tmp_path / "a.tsv", "text") == texts


def test_the_line_of_a_bad_row_is_exact_after_quoted_ones(tmp_path):
    (tmp_path / "a.tsv").write_text('label\ttext\n0\t"one\nmore"\n1\ttwo\textra\n2\tthree\n')
    with pytest.raises(InputError, match=r"a\.tsv, line 4: wrong number of fields \(3 instead of 2\)"):
        rows(tmp_path / "a.tsv", "text")
    (tmp_path / "b.tsv").write_text('label\ttext\n0\t"one\n1\ttwo\n2\n3\tfour\n')
    with pytest.raises(InputError, match=r"b\.tsv, line 4: wrong number of fields \(1 instead of 2\)"):
        rows(tmp_path / "b.tsv", "text")

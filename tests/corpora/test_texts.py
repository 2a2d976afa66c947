from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import os
import re
import subprocess
import sys
import zipfile

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sae_kedro import InputError, get_experiment_cfg
from sae_kedro.corpora.base import clean_text, rejected, text_hash
from sae_kedro.corpora.formats import FORMATS
from sae_kedro.corpora.kinds.hub import HubDataset
from sae_kedro.corpora.opening import open_corpus

TEXTS = ["A first text.", 'Two "quoted" words, and a comma', "Line one\nline two", "naïve café 😀"]
LINES = [text.replace("\n", " ") for text in TEXTS]
PLAIN_KINDS = ["x.jsonl", "x.json", "lines.json", "x.csv", "x.tsv", "x.txt"]


def opened(path, **options):
    return open_corpus(get_experiment_cfg(dataset_path=str(path), **options))


def table(texts, delimiter):
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter).writerows([["id", "text"], *enumerate(texts)])
    return out.getvalue()


def content(name, texts):
    kind = name.removesuffix(".gz").rsplit(".", 1)[1]
    rows = [{"id": number, "text": text} for number, text in enumerate(texts)]
    if kind == "jsonl" or name.startswith("lines"):
        return "".join(json.dumps(row) + "\n" for row in rows)
    if kind == "json":
        return json.dumps(rows, indent=1)
    return "\n".join(texts) if kind == "txt" else table(texts, "\t" if kind == "tsv" else ",")


def zipped(data):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("member", data)
    return out.getvalue()


COMPRESS = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".zip": zipped}
COMPRESS[".zst"] = lambda data: pa.Codec("zstd").compress(data, asbytes=True)


def write(file, texts):
    """Write texts as the kind of file that its name says."""
    if file.suffix == ".parquet":
        pq.write_table(pa.table({"id": range(len(texts)), "text": pa.array(texts, pa.string())}), file)
    else:
        plain = file.name.removesuffix(file.suffix) if file.suffix in COMPRESS else file.name
        data = content(plain, texts).encode()
        file.write_bytes(COMPRESS.get(file.suffix, bytes)(data))
    return file


@pytest.fixture
def folder(tmp_path):
    """Two files of a corpus, one of them in a folder below, and a file that is none of it."""
    (tmp_path / "below").mkdir()
    write(tmp_path / "b.jsonl", ["two", "three"])
    write(tmp_path / "a.csv", ["one"])
    write(tmp_path / "below" / "c.txt.gz", ["four"])
    (tmp_path / "notes.docx").write_text("not a text of the corpus")
    return tmp_path


@pytest.mark.parametrize("name", [*PLAIN_KINDS, *(name + end for name in PLAIN_KINDS for end in COMPRESS), "x.parquet"])
def test_every_kind_of_file_gives_its_texts_in_order(tmp_path, name):
    texts = LINES if ".txt" in name else TEXTS
    corpus = opened(write(tmp_path / name, texts))
    assert list(corpus.rows()) == texts
    assert list(corpus.rows(2)) == texts[2:]
    assert list(corpus.rows(9)) == []


@pytest.mark.parametrize("name", ["x.jsonl", "x.json", "x.csv", "x.tsv", "x.txt"])
def test_a_byte_order_mark_is_not_part_of_the_first_text(tmp_path, name):
    file = tmp_path / name
    file.write_bytes(b"\xef\xbb\xbf" + content(name, ["first", "second"]).encode())
    assert list(opened(file).rows()) == ["first", "second"]


def test_text_lines_end_at_any_newline_and_keep_their_spaces(tmp_path):
    file = tmp_path / "x.txt"
    file.write_bytes(b" one \r\ntwo\tand a half\n\nthree\x0cpage")
    assert list(opened(file).rows()) == [" one ", "two\tand a half", "", "three\x0cpage"]


def test_json_rows_may_be_strings(tmp_path):
    (tmp_path / "x.jsonl").write_text('"one"\n\n"two"\n')
    (tmp_path / "x.json").write_text('["one", "two"]')
    for name in ("x.jsonl", "x.json"):
        assert list(opened(tmp_path / name).rows()) == ["one", "two"]


def test_another_column_can_hold_the_text(tmp_path):
    file = tmp_path / "x.jsonl"
    file.write_text('{"body": "one", "text": "no"}\n')
    assert list(opened(file, text_column="body").rows()) == ["one"]


def test_a_folder_gives_all_supported_files_below_it_sorted_by_path(folder):
    assert list(opened(folder).rows()) == ["one", "two", "three", "four"]
    assert list(opened(folder).rows(2)) == ["three", "four"]


@pytest.mark.parametrize(
    ("pattern", "texts"),
    [("*.jsonl", ["two", "three"]), ("[ab].*", ["one", "two", "three"]), ("**/*.gz", ["four"])],
)
def test_a_glob_gives_the_matching_files(folder, pattern, texts):
    assert list(opened(folder / pattern).rows()) == texts


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (None, "null"),
        (7, "not text"),
        (["a list"], "not text"),
        ("", "empty"),
        (" \t\n\u00a0", "empty"),
        ("a", None),
    ],
)
def test_rows_that_are_no_text_are_rejected_with_a_reason(row, reason):
    assert rejected(row) == reason


@pytest.mark.parametrize("name", ["x.jsonl", "x.parquet"])
def test_null_and_empty_rows_keep_their_place(tmp_path, name):
    corpus = opened(write(tmp_path / name, [None, "one", "", "two"]))
    assert list(corpus.rows()) == [None, "one", "", "two"]
    assert list(corpus.rows(2)) == ["", "two"]


def test_a_row_without_the_key_is_null(tmp_path):
    (tmp_path / "x.jsonl").write_text('{"text": "one"}\n{"id": 2}\n{"text": "three"}\n')
    assert list(opened(tmp_path / "x.jsonl").rows()) == ["one", None, "three"]


def test_numbers_of_a_parquet_column_are_not_texts(tmp_path):
    pq.write_table(pa.table({"text": [1, 2]}), tmp_path / "x.parquet")
    with pytest.raises(InputError, match="holds no text"):
        opened(tmp_path / "x.parquet")


def test_a_missing_file_is_named_with_its_nearest_neighbour(tmp_path):
    write(tmp_path / "reviews.jsonl", TEXTS)
    with pytest.raises(InputError) as error:
        opened(tmp_path / "review.jsonl")
    assert (
        str(error.value)
        == f"dataset_path={str(tmp_path / 'review.jsonl')!r} does not exist; did you mean 'reviews.jsonl'?"
    )


def test_a_missing_file_in_a_missing_folder_and_an_empty_glob_do_not_exist(tmp_path):
    for path in (tmp_path / "nowhere" / "x.csv", tmp_path / "*.csv", "a/b/c"):
        with pytest.raises(InputError, match="does not exist"):
            opened(path)


@pytest.mark.parametrize("name", ["x.jsonl", "x.json", "x.csv", "x.tsv.gz", "x.parquet"])
def test_a_missing_column_lists_the_columns_and_the_nearest(tmp_path, name):
    file = write(tmp_path / name, TEXTS)
    with pytest.raises(InputError) as error:
        opened(file, text_column="texts")
    assert str(error.value) == (
        f"text_column='texts' is not in {file}, whose columns are id, text; did you mean 'text'?"
    )


@pytest.mark.parametrize("name", ["x.jsonl", "x.json", "x.csv", "x.tsv", "x.txt"])
def test_an_empty_file_holds_no_text(tmp_path, name):
    (tmp_path / name).touch()
    with pytest.raises(InputError, match=r"dataset_path='.*' holds no text"):
        opened(tmp_path / name)


@pytest.mark.parametrize("name", ["x.jsonl", "x.parquet"])
def test_a_file_whose_rows_are_all_empty_holds_no_text(tmp_path, name):
    with pytest.raises(InputError, match="holds no text: every row of 'text' is empty"):
        opened(write(tmp_path / name, ["", None, "  "]))


def test_an_unsupported_ending_lists_the_supported_ones(tmp_path):
    (tmp_path / "x.docx").touch()
    supported = re.escape(", ".join(FORMATS))
    with pytest.raises(InputError, match=rf"is not one of {supported}, plain or with \.gz, "):
        opened(tmp_path / "x.docx")
    with pytest.raises(InputError, match=rf"is a folder without {supported} files"):
        opened(tmp_path)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("x.jsonl", 4), ("x.csv", 6), ("x.txt", 4), ("x.json", None), ("x.jsonl.gz", None)],
)
def test_lines_tell_about_how_many_rows_there_are(tmp_path, name, expected):
    texts = LINES if name == "x.txt" else TEXTS
    data = content(name, texts).encode()
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    assert opened(tmp_path / name).likely_rows == expected


def test_parquet_files_tell_how_many_rows_they_have_and_one_that_cannot_leaves_it_open(tmp_path):
    for name in "ab":
        pq.write_table(pa.table({"text": TEXTS}), tmp_path / f"{name}.parquet")
    assert opened(tmp_path).likely_rows == 8
    (tmp_path / "c.parquet").write_bytes(b"PAR1 damaged")
    assert opened(tmp_path).likely_rows is None


def test_a_bad_json_line_is_named_with_its_number(tmp_path):
    file = tmp_path / "x.jsonl"
    file.write_text('{"text": "one"}\n\n{"text": "two"\n')
    with pytest.raises(InputError, match=r"x\.jsonl, line 3: not valid JSON"):
        list(opened(file).rows())


def test_a_bad_json_array_is_named(tmp_path):
    (tmp_path / "x.json").write_text('[{"text": "one"}, {"text": ]')
    with pytest.raises(InputError, match=r"x\.json, line 1: not valid JSON"):
        opened(tmp_path / "x.json")


@pytest.mark.parametrize("how", ["not gzip", "bad block", "truncated"])
@pytest.mark.parametrize("name", ["x.jsonl.gz", "x.csv.gz", "x.txt.gz"])
def test_a_damaged_gzip_file_is_named(tmp_path, docs, name, how):
    file = write(tmp_path / name, docs)
    data = file.read_bytes()
    # The header has 10 bytes; 0xff after it announces a compressed block of a type that does not exist.
    bad = {"not gzip": b"plain text\n", "bad block": data[:10] + b"\xff" + data[11:], "truncated": data[:-12]}
    file.write_bytes(bad[how])
    with pytest.raises(InputError, match=rf"{name} cannot be read as {name[2:-3]}"):
        list(opened(file).rows())


@pytest.mark.parametrize("how", ["scrambled", "truncated"])
def test_a_damaged_parquet_file_is_named(tmp_path, docs, how):
    file = write(tmp_path / "x.parquet", docs)
    data = file.read_bytes()
    middle = len(data) // 2  # within the texts, where 0xff is no UTF-8
    scrambled = data[:middle] + b"\xff" * 100 + data[middle + 100 :]
    file.write_bytes({"scrambled": scrambled, "truncated": data[:-12]}[how])
    with pytest.raises(InputError, match=r"x\.parquet cannot be read as parquet"):
        list(opened(file).rows())


def test_a_parquet_column_that_is_not_utf8_is_named(tmp_path):
    column = pa.Array.from_buffers(pa.string(), 1, pa.array([b"\xff\xfe"], pa.binary()).buffers())
    pq.write_table(pa.table({"text": column}), tmp_path / "x.parquet")
    with pytest.raises(InputError, match=r"x\.parquet cannot be read as parquet"):
        opened(tmp_path / "x.parquet")


def test_a_file_that_is_not_utf8_is_named(tmp_path):
    (tmp_path / "x.txt").write_bytes("café".encode("latin-1"))
    with pytest.raises(InputError, match=r"x\.txt, line 1: not UTF-8"):
        opened(tmp_path / "x.txt")


@pytest.mark.parametrize("end", COMPRESS)
def test_a_damaged_compressed_file_is_named(tmp_path, docs, end):
    file = write(tmp_path / f"x.txt{end}", docs)
    file.write_bytes(file.read_bytes()[:-200])
    with pytest.raises(InputError, match=rf"x\.txt\{end} cannot be read as txt"):
        list(opened(file).rows())


def test_an_archive_of_several_files_is_not_one_of_them(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.txt.zip", "w") as archive:
        archive.writestr("a.txt", "one")
        archive.writestr("b.txt", "two")
    with pytest.raises(InputError, match=r"x\.txt\.zip holds 2 files; one is read, so unpack it and give the folder"):
        opened(tmp_path / "x.txt.zip")


def test_arrow_files_of_both_kinds_are_read(tmp_path):
    table = pa.table({"id": range(4), "text": TEXTS})
    for name, new in {"stream.arrow": pa.ipc.new_stream, "file.arrow": pa.ipc.new_file}.items():
        with new(tmp_path / name, table.schema) as writer:
            writer.write_table(table, max_chunksize=3)
        assert list(opened(tmp_path / name).rows()) == TEXTS
        assert list(opened(tmp_path / name).rows(2)) == TEXTS[2:]
    (tmp_path / "bad.arrow").write_bytes(b"no arrow")
    with pytest.raises(InputError, match=r"bad\.arrow cannot be read as arrow"):
        opened(tmp_path / "bad.arrow")


def test_folders_that_the_library_datasets_saved_are_read_split_by_split(tmp_path):
    one = datasets.Dataset.from_dict({"id": range(4), "text": TEXTS})
    one.save_to_disk(str(tmp_path / "one"), num_shards=2)
    assert list(opened(tmp_path / "one").rows()) == TEXTS
    datasets.DatasetDict({"train": one, "test": one.select([1])}).save_to_disk(str(tmp_path / "two"))
    assert list(opened(tmp_path / "two").rows()) == TEXTS
    assert list(opened(tmp_path / "two", dataset_split="test").rows()) == TEXTS[1:2]
    with pytest.raises(InputError, match=r"dataset_split='tst' is not in .*, whose splits are test, train; did"):
        opened(tmp_path / "two", dataset_split="tst")


def test_a_hub_dataset_on_an_offline_machine_says_what_works_offline():
    with pytest.raises(InputError) as error:
        opened("stanfordnlp/imdb")
    assert str(error.value) == (
        "dataset_path='stanfordnlp/imdb' is not a local file, and this machine is offline, so the Hub cannot be asked "
        f"for it; offline, give a local file ({', '.join(FORMATS)}) or 'python-docs'"
    )


def test_a_hub_that_does_not_answer_is_told_in_the_same_sentence(tmp_path):
    # Nothing listens at port 9 of this machine, so the connection is refused at once.
    script = "from sae_kedro import get_experiment_cfg as get; from sae_kedro.corpora.opening import open_corpus\n"
    script += "open_corpus(get(dataset_path='stanfordnlp/imdb'))"
    env = os.environ | {"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True)
    last_line = done.stderr.splitlines()[-1]
    assert "InputError: dataset_path='stanfordnlp/imdb' is not a local file, and this machine is offline" in last_line


class HubCopy(HubDataset):
    """A Hub dataset whose files lie in a folder, so that `datasets` streams it without a network."""

    _folder = None

    def _commit(self, revision):
        return revision


@pytest.fixture
def hub_copy(tmp_path):
    def make(**options):
        write(tmp_path / "train.jsonl", TEXTS)
        return HubCopy(str(tmp_path), get_experiment_cfg(**options))

    return make


def test_a_hub_dataset_streams_its_column_from_any_row_on(hub_copy):
    assert list(hub_copy().rows()) == TEXTS
    assert list(hub_copy().rows(2)) == TEXTS[2:]
    assert list(hub_copy(text_column="id").rows()) == [0, 1, 2, 3]


def test_a_column_or_split_that_a_hub_dataset_lacks_is_named(hub_copy):
    with pytest.raises(InputError, match=r"text_column='txt' is not in .*, whose columns are id, text; did you mean"):
        list(hub_copy(text_column="txt").rows())
    with pytest.raises(InputError, match=r"dataset_split='dev' is not in .*, whose splits are train"):
        list(hub_copy(dataset_split="dev").rows())


def test_the_fingerprint_of_a_hub_dataset_follows_all_that_changes_its_rows(hub_copy):
    prints = [
        hub_copy(**options).fingerprint
        for options in (
            {},
            {"text_column": "id"},
            {"dataset_split": "test"},
            {"dataset_config": "small"},
            {"dataset_revision": "abc"},
        )
    ]
    assert len(set(prints)) == 5
    assert hub_copy().fingerprint == prints[0]


def test_python_docs_is_a_corpus_by_name(docs):
    corpus = opened("python-docs")
    rows = corpus.rows(3)
    assert [next(rows) for _ in range(4)] == docs[3:7]
    assert corpus.name == "python-docs"


def test_fingerprint_follows_content_and_column_but_not_the_folder(tmp_path):
    (tmp_path / "moved").mkdir()
    first = opened(write(tmp_path / "x.csv", ["one", "two"])).fingerprint
    assert opened(write(tmp_path / "moved" / "x.csv", ["one", "two"])).fingerprint == first
    assert opened(tmp_path / "x.csv", text_column="id").fingerprint != first
    assert opened(write(tmp_path / "x.csv", ["one", "twO"])).fingerprint != first


def test_fingerprint_follows_the_files_of_a_folder(folder):
    before = opened(folder).fingerprint
    (folder / "below" / "c.txt.gz").unlink()
    assert opened(folder).fingerprint != before


def test_fingerprint_of_a_large_file_follows_its_end(tmp_path):
    # 65 MiB is past the 64 MiB up to which a file is hashed whole. Both writes leave the same size.
    file = tmp_path / "x.txt"
    file.write_bytes(b"a text\n" + b" " * (65 << 20) + b"\nend")
    first = opened(file).fingerprint
    assert opened(file).fingerprint == first
    with file.open("r+b") as handle:
        handle.seek(-3, io.SEEK_END)
        handle.write(b"END")
    assert opened(file).fingerprint != first


def test_lone_surrogates_are_replaced_and_other_texts_are_kept(tmp_path):
    file = tmp_path / "x.jsonl"
    file.write_text('{"text": "half \\ud83d of a pair"}\n{"text": "whole \\ud83d\\ude00"}\n')
    assert [clean_text(row) for row in opened(file).rows()] == ["half ? of a pair", "whole 😀"]


def test_text_hash_is_the_little_endian_blake2b_digest_of_eight_bytes():
    # printf 'abc' | b2sum -l 64 gives d8bb14d833d59559; printf 'naïve' | b2sum -l 64 gives bef26892eeeb4cdc.
    assert text_hash("abc") == 0x5995D533D814BBD8
    assert text_hash("naïve") == int.from_bytes(bytes.fromhex("bef26892eeeb4cdc"), "little")

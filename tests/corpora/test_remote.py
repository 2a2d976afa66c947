from __future__ import annotations

import bz2
import functools
import gzip
import io
import json
import lzma
import threading
import zipfile
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from running import run_session
from sae_kedro import InputError, load_sae
from sae_kedro.corpora.opening import open_corpus
from sae_kedro.corpora.text_files import COMPRESSED

TEXTS = [f"a text, number {number}" for number in range(50)]
JSONL = "".join(json.dumps({"text": text}) + "\n" for text in TEXTS).encode()


@pytest.fixture
def corpus(make_cfg):
    return lambda path, **options: open_corpus(make_cfg(dataset_path=path, **options))


@pytest.fixture
def memory():
    """Put a file into memory, where `memory://` finds it."""
    system = fsspec.filesystem("memory")

    def put(path, data):
        with system.open(path, "wb") as file:
            file.write(data)
        return f"memory:/{path}"

    yield put
    system.store.clear()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A folder that a web server shows: its path and its URL."""
    folder = tmp_path_factory.mktemp("served")

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def send_head(self):
            if "forbidden" in self.path:
                return self.send_error(403)
            return super().send_head()

    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder)) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{web.server_port}"
        web.shutdown()


def packed(ending):
    if ending == ".zip":
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("texts.jsonl", JSONL)
        return file.getvalue()
    return {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".zst": zstd}[ending](JSONL)


def zstd(data):
    return pa.compress(data, "zstd", asbytes=True)


@pytest.mark.parametrize("ending", ["", *COMPRESSED])
def test_text_files_behind_a_url(ending, corpus, memory):
    url = memory(f"/in/texts.jsonl{ending}", packed(ending) if ending else JSONL)
    opened = corpus(url)
    assert list(opened.rows()) == TEXTS and list(opened.rows(20)) == TEXTS[20:]
    before = opened.fingerprint
    memory("/in/texts.jsonl", JSONL + b'{"text": "one more"}\n')
    assert (corpus(url).fingerprint == before) == bool(ending)


def test_tables_folders_and_globs_behind_a_url(corpus, memory):
    table = pa.table({"body": TEXTS[:20]})
    parquet, arrow = io.BytesIO(), io.BytesIO()
    pq.write_table(table, parquet)
    with pa.ipc.new_file(arrow, table.schema) as writer:
        writer.write_table(table)
    assert list(corpus(memory("/in/a.parquet", parquet.getvalue()), text_column="body").rows()) == TEXTS[:20]
    assert list(corpus(memory("/in/b.arrow", arrow.getvalue()), text_column="body").rows()) == TEXTS[:20]
    memory("/in/c/1.csv", b"body\none\n")
    memory("/in/c/deeper/2.txt", b"two\n")
    memory("/in/c/readme.md", b"none of these")
    assert list(corpus("memory://in/c", text_column="body").rows()) == ["one", "two"]
    assert list(corpus("memory://in/*.parquet", text_column="body").rows()) == TEXTS[:20]


def test_the_web(corpus, server):
    folder, url = server
    (folder / "texts.jsonl.gz").write_bytes(gzip.compress(JSONL))
    assert list(corpus(f"{url}/texts.jsonl.gz").rows()) == TEXTS
    for path, said in [("none.csv", "does not exist"), ("forbidden.csv", "cannot be read: ")]:
        with pytest.raises(InputError) as error:
            list(corpus(f"{url}/{path}").rows())
        assert f"dataset_path='{url}/{path}'" in str(error.value) and said in str(error.value)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("htps://host/a.csv", "starts with htps://, which no installed backend of fsspec knows; did you mean 'https'?"),
        ("gs://bucket/a.csv", "cannot be opened: Please install gcsfs to access Google Storage"),
        ("memory://nowhere/a.csv", "does not exist, or holds no file"),
        ("memory://in/a.docx", "is not one of .arrow, .csv"),
        ("memory://in/v.npy", "cannot be read where it is: .npy files are mapped, so copy it to this machine"),
        ("http://127.0.0.1:9/a.csv", "127.0.0.1"),
    ],
)
def test_what_cannot_be_opened_is_told_in_a_sentence(path, said, corpus, memory):
    memory("/in/a.docx", b"")
    with pytest.raises(InputError) as error:
        corpus(path)
    assert said in str(error.value) and "\n" not in str(error.value)


def test_a_run_on_a_url(memory, docs, tmp_path):
    url = memory("/in/docs.txt", "\n".join(docs[:100]).encode())
    run_session("train", dataset_path=url, data_root=tmp_path)
    assert load_sae(tmp_path / "06_models" / "topk").cfg["dataset_path"] == url

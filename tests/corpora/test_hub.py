"""Datasets streamed with the real clients of the Hub, which is a server of this process."""

from __future__ import annotations

import gzip
import io
import json
import multiprocessing
import os
import sys
from concurrent.futures import ProcessPoolExecutor

import hub_client
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hub_server import BREAKS_OFF, HANGS_UP, Fault, HubServer
from sae_kedro import InputError

N_FILES, N_ROWS = 4, 10_000


@pytest.fixture(scope="module")
def hub():
    with HubServer() as server:
        yield server


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Where that process has the Hub's cache."""
    return tmp_path_factory.mktemp("hub")


@pytest.fixture(scope="module")
def process(hub, home):
    """A process that knows no other Hub; `process(function, ...)` calls a function in it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        patch.setenv("HF_ENDPOINT", hub.endpoint)
        patch.setenv("HF_HOME", str(home))
        patch.setenv("HF_HUB_OFFLINE", "0")
        patch.setenv("HF_UPDATE_DOWNLOAD_COUNTS", "0")
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, context, initializer=hub_client.wait_for_nothing) as pool:
            yield lambda function, *args, **options: pool.submit(function, *args, **options).result()


@pytest.fixture(autouse=True)
def _afresh(hub, process):
    hub.reset()
    process(hub_client.waited)


@pytest.fixture
def read(process):
    """Read rows of a dataset."""

    def read(name, start=0, count=None, **options):
        return process(hub_client.rows, start, count, dataset_path=name, **options)

    return read


def parquet(row_group_size=None, **columns) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file, row_group_size=row_group_size)
    return file.getvalue()


def json_lines(*texts) -> bytes:
    return "".join(json.dumps({"id": number, "text": text}) + "\n" for number, text in enumerate(texts)).encode()


def numbered(first, count) -> list[str]:
    return [f"text {number}, {'with some words ' * 9}" for number in range(first, first + count)]


def shards(*files: bytes, split="train", ending="parquet") -> dict[str, bytes]:
    return {f"data/{split}-{number:05d}-of-{len(files):05d}.{ending}": data for number, data in enumerate(files)}


def heavy_dataset(row_group_size) -> tuple[dict[str, bytes], list[str], int]:
    """Files with a column of texts between heavy ones, all texts, and the size of their column in the files."""
    random = np.random.default_rng(0)
    texts = [f"{number} {random.bytes(30).hex()}" for number in range(N_FILES * N_ROWS)]
    files = shards(
        *(
            parquet(
                row_group_size,
                image=[random.bytes(500) for _ in range(N_ROWS)],
                text=texts[first : first + N_ROWS],
                audio=[random.bytes(500) for _ in range(N_ROWS)],
            )
            for first in range(0, len(texts), N_ROWS)
        )
    )
    size = 0
    for data in files.values():
        metadata = pq.read_metadata(io.BytesIO(data))
        groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
        size += sum(group.column(1).total_compressed_size for group in groups)
    return files, texts, size


def at_request(number, change):
    """Change something when the content of a file is asked for the `number`th time."""
    asked = []

    def fault(request):
        if request.host == "hub" and request.method == "GET" and "train-" in request.path:
            asked.append(request)
            if len(asked) == number:
                change()

    return fault


@pytest.mark.parametrize("row_group_size", [1000, N_ROWS])
def test_the_column_alone_is_fetched_and_going_on_twice_starts_where_the_run_before_stopped(
    hub, process, tmp_path, row_group_size
):
    files, texts, size = heavy_dataset(row_group_size)
    name = f"me/heavy-{row_group_size}"
    hub.repo(name, files)
    paths, encoded, total = sorted(files), [], 0
    for limit, opened in ((8192, paths[:1]), (24_576, paths[:3]), (40_000, paths[2:])):
        hub.reset()
        new, said = process(hub_client.encode, tmp_path / "cache", limit, dataset_path=name)
        assert said == ""
        assert sorted(hub.sent) == opened
        encoded += new
        total += sum(hub.sent.values())
    assert encoded == texts
    footers = 6 * 65_536  # of the files opened above; pyarrow looks for a footer in so many bytes
    assert size <= total <= size + footers
    assert total <= 1.3 * size
    assert total < sum(map(len, files.values())) / 12


def test_reading_starts_at_any_row_whether_the_files_before_are_known_or_not(hub, read):
    texts = numbered(0, 50)
    hub.repo("me/rows", shards(*(parquet(4, text=texts[first : first + 10]) for first in range(0, 50, 10))))
    for start in (37, 0, 9, 10, 11, 29, 49, 50, 60):  # the first asks four footers how long the files are
        assert read("me/rows", start) == texts[start:]
    assert read("me/rows", 3, 2) == texts[3:5]


def test_what_is_known_of_the_length_of_files_saves_asking_for_them(hub, read, home):
    texts = numbered(0, 30)
    files = shards(*(parquet(text=texts[first : first + 10]) for first in range(0, 30, 10)))
    hub.repo("me/known", files)
    assert read("me/known", 25) == texts[25:]
    assert sorted(hub.sent) == sorted(files)
    hub.reset()
    assert read("me/known", 25) == texts[25:]
    assert sorted(hub.sent) == sorted(files)[2:]
    [kept] = (home / "assets" / "sae_kedro" / "me--known").rglob("*.json")
    for damage in ("", "[10", '{"files": 2, "rows": [25]}'):
        kept.write_text(damage)
        assert read("me/known", 25) == texts[25:]


def test_a_cache_that_cannot_be_written_to_costs_only_time(hub, read, home):
    hub.repo("me/unkept", shards(parquet(text=numbered(0, 9)), parquet(text=numbered(9, 9))))
    (home / "assets" / "sae_kedro").mkdir(parents=True, exist_ok=True)
    (home / "assets" / "sae_kedro" / "me--unkept").write_text("not a folder")
    assert read("me/unkept", 7) == numbered(7, 11)


def test_paths_lists_and_joined_columns_are_read_from_any_row_on(hub, read):
    talks = [[{"role": "user", "content": f"{number}.{turn}"} for turn in range(number % 4)] for number in range(40)]
    titles = [{"main": f"title {number}", "sub": number} for number in range(40)]
    files = [
        parquet(5, talk=talks[first : first + 20], title=titles[first : first + 20], n=list(range(20)))
        for first in (0, 20)
    ]
    hub.repo("me/talks", shards(*files))
    contents = [turn["content"] for talk in talks for turn in talk]
    for start in (0, 7, 30, 31, 59):
        assert read("me/talks", start, text_column="talk.content") == contents[start:]
    assert read("me/talks", 23, 2, text_column="title.main") == ["title 23", "title 24"]
    joined = [f"title {number}\n{number}.0" for number in (21, 22, 23)]
    assert [row.split("\n")[:2] for row in read("me/talks", 21, 3, text_column="title.main+talk.content")] == [
        row.split("\n") for row in joined
    ]


def test_declared_features_are_what_values_become(hub, read):
    card = "---\ndataset_info:\n  features:\n  - name: text\n    dtype: string\n---\n"
    hub.repo("me/declared", {"README.md": card.encode()} | shards(parquet(text=[1, 2, 3])))
    assert read("me/declared") == ["1", "2", "3"]


@pytest.mark.parametrize("ending", ["jsonl", "jsonl.gz"])
def test_json_goes_on_in_the_file_where_the_run_before_stopped(hub, read, ending):
    texts = numbered(0, 60)
    packed = gzip.compress if ending.endswith("gz") else bytes
    parts = [packed(json_lines(*texts[first : first + 20])) for first in range(0, 60, 20)]
    files = shards(*parts, ending=ending)
    name = f"me/{ending.replace('.', '-')}"
    hub.repo(name, files)
    assert read(name, 0, 45) == texts[:45]
    hub.reset()
    assert read(name, 45) == texts[45:]
    assert sorted(files)[1] not in hub.sent  # the first one is asked for its columns by `datasets`
    assert read(name, 19, 3) == texts[19:22]


CARD = """---
configs:
- config_name: english
  data_files:
  - {split: train, path: en/train.parquet}
  - {split: test, path: en/test.parquet}
- config_name: german
  data_files: de/*.parquet
---
"""


def test_configurations_and_splits_are_chosen_by_name_and_listed_where_none_fits(hub, read):
    files = {f"{name}.parquet": parquet(text=[name]) for name in ("en/train", "en/test", "de/a", "de/b")}
    hub.repo("me/two", files | {"README.md": CARD.encode()})
    assert read("me/two", dataset_config="english") == ["en/train"]
    assert read("me/two", dataset_config="english", dataset_split="test") == ["en/test"]
    assert read("me/two", dataset_config="english", dataset_split="test+train") == ["en/test", "en/train"]
    assert read("me/two", dataset_config="german") == ["de/a", "de/b"]
    configurations = "is not in me/two, whose configurations are english, german"
    for config, sentence in (
        (None, f"dataset_config=None {configurations}"),
        ("gernam", f"dataset_config='gernam' {configurations}; did you mean 'german'?"),
    ):
        with pytest.raises(InputError) as error:
            read("me/two", dataset_config=config)
        assert str(error.value) == sentence
    with pytest.raises(InputError) as error:
        read("me/two", dataset_config="english", dataset_split="tests")
    assert str(error.value) == (
        "dataset_split='tests' is not in me/two, whose splits are train, test; did you mean 'test'?"
    )


def test_labels_beside_many_texts_do_not_change_where_texts_of_the_same_column_are(hub, read, process):
    talks = [["one", "two"], ["three"], ["four"]]
    files = shards(*(parquet(talk=[talk], kind=[f"kind {number}"]) for number, talk in enumerate(talks)))
    hub.repo("me/labels", files)
    labels = process(hub_client.labels, dataset_path="me/labels", text_column="talk", label_column="kind")
    assert labels == ["kind 0", "kind 0", "kind 1", "kind 2"]
    assert read("me/labels", 2, text_column="kind") == ["kind 2"]  # two labels of the first file would be passed over
    assert read("me/labels", 3, text_column="talk") == ["four"]


def test_a_column_that_is_not_there_is_told_with_those_that_are(hub, read):
    hub.repo("me/columns", shards(parquet(txt=["a"], label=[1])))
    with pytest.raises(InputError) as error:
        read("me/columns")
    assert str(error.value) == (
        "text_column='text' is not in me/columns/data/train-00000-of-00001.parquet, whose columns are txt, label; did "
        "you mean 'txt'?"
    )


def test_a_revision_is_read_as_it_was_and_a_wrong_one_is_told(hub, read):
    repo = hub.repo("me/moving", shards(parquet(text=["old"])))
    old = repo.refs["main"]
    repo.commit(shards(parquet(text=["new"])))
    repo.commit(shards(parquet(text=["other"])), branch="side")
    assert read("me/moving") == ["new"]
    assert read("me/moving", dataset_revision=old) == ["old"]
    assert read("me/moving", dataset_revision="side") == ["other"]
    with pytest.raises(InputError) as error:
        read("me/moving", dataset_revision="v1")
    assert str(error.value) == (
        "dataset_revision='v1' is no branch, tag or commit of me/moving; "
        "https://huggingface.co/datasets/me/moving/tree/main lists them"
    )


@pytest.mark.parametrize("card", [{}, {"README.md": b"A dataset."}])
@pytest.mark.parametrize("token", ["", "hf_stranger"])
def test_a_gated_dataset_says_where_to_ask_for_access(hub, read, card, token):
    name = f"me/gated{len(card)}{len(token)}"
    hub.repo(name, shards(parquet(text=numbered(0, 90))) | card, gated=True, readers={"hf_friend"})
    with pytest.raises(InputError) as error:
        read(name, token=token)
    assert str(error.value) == (
        f"dataset_path={name!r} is gated: ask for access at https://huggingface.co/datasets/{name}, and log in with "
        "`hf auth login` or set HF_TOKEN"
    )
    assert not hub.sent
    assert read(name, token="hf_friend") == numbered(0, 90)
    assert {request.headers.get("Authorization") for request in hub.requests if request.host == "cdn"} == {None}


@pytest.mark.parametrize("token", ["", "hf_stranger"])
def test_a_private_dataset_and_one_that_is_not_there_are_told_alike(hub, read, token):
    hub.repo("me/private", shards(parquet(text=["mine"])), private=True, readers={"hf_friend"})
    for name in ("me/private", "me/nowhere"):
        with pytest.raises(InputError) as error:
            read(name, token=token)
        assert str(error.value) == (
            f"dataset_path={name!r} is neither a local file nor a public Hub dataset; if it is a private one, "
            f"https://huggingface.co/datasets/{name}, log in with `hf auth login` or set HF_TOKEN"
        )
    assert read("me/private", token="hf_friend") == ["mine"]


@pytest.mark.parametrize("ending", ["parquet", "jsonl"])
def test_a_server_that_fails_every_third_request_loses_no_text(hub, process, read, ending):
    texts = numbered(0, 200)
    write = (lambda some: parquet(10, text=some)) if ending == "parquet" else (lambda some: json_lines(*some))
    name = f"me/flaky-{ending}"
    hub.repo(name, shards(*(write(texts[first : first + 50]) for first in range(0, 200, 50)), ending=ending))
    faults = [Fault(503), HANGS_UP, Fault(429, {"Retry-After": "70"}), BREAKS_OFF]
    hub.fault = lambda request: faults[request.number // 3 % 4] if request.number % 3 == 0 else None
    assert read(name) == texts
    assert len(hub.requests) > 12
    assert max(process(hub_client.waited)) in (70, 71)  # as long as the server asked for


@pytest.mark.parametrize(
    ("fault", "said"),
    [(Fault(503), "503 Service Unavailable"), (Fault(429), "429 Too Many Requests"), (HANGS_UP, "disconnected")],
)
def test_what_is_encoded_is_kept_when_the_server_dies_and_the_next_run_goes_on(hub, process, tmp_path, fault, said):
    texts = [f"text {number}" for number in range(20_000)]
    name = f"me/dying{abs(fault.status)}"
    hub.repo(name, shards(*(parquet(text=texts[first : first + 10_000]) for first in (0, 10_000))))
    hub.fault = lambda request: fault if "train-00001" in request.path else None
    encoded, sentence = process(hub_client.encode, tmp_path / "cache", None, dataset_path=name)
    assert encoded == texts[:8192]
    assert sentence.startswith(f"dataset_path={name!r}: the Hub does not answer (")
    assert said in sentence
    assert sentence.endswith("); what is encoded is kept, so run again to go on")
    hub.reset()
    encoded, sentence = process(hub_client.encode, tmp_path / "cache", None, dataset_path=name)
    assert (encoded, sentence) == (texts[8192:], "")


@pytest.mark.parametrize("status", [503, 429])
def test_a_hub_that_is_busy_from_the_start_is_not_called_an_offline_machine(hub, read, status):
    hub.repo("me/busy", shards(parquet(text=["one"])))
    hub.fault = lambda request: Fault(status)
    with pytest.raises(InputError, match=rf"^dataset_path='me/busy': the Hub does not answer \(.*{status}"):
        read("me/busy")


def test_a_file_that_changes_within_a_run_is_told_and_a_branch_that_moves_is_not_followed(hub, read):
    random = np.random.default_rng(0)

    def files(word):
        heavy = [random.bytes(3000) for _ in range(300)]
        return shards(parquet(100, text=[f"{word} {number}" for number in range(300)], image=heavy))

    repo = hub.repo("me/changing", files("old"))
    commit, path = repo.refs["main"], "data/train-00000-of-00001.parquet"

    hub.fault = at_request(3, lambda: repo.commit(files("new")))
    assert read("me/changing", dataset_revision="main") == [f"old {number}" for number in range(300)]
    assert repo.refs["main"] != commit
    hub.reset()
    hub.fault = at_request(3, lambda: repo.commits[commit].update(files("new")))
    with pytest.raises(InputError) as error:
        read("me/changing", dataset_revision=commit)
    assert str(error.value).startswith(f"me/changing/{path} changed on the Hub during this run: it was ")
    assert str(error.value).endswith("; what is encoded of it is of the old version, and is kept")


def test_a_file_of_another_format_that_changes_while_it_is_read_is_told(hub, read):
    repo = hub.repo("me/changing-lines", shards(json_lines(*numbered(0, 90)), ending="jsonl"))
    changed = shards(json_lines(*numbered(1, 90)), ending="jsonl")

    commit = repo.refs["main"]
    # the first request was for the names of the columns
    hub.fault = at_request(2, lambda: repo.commits[commit].update(changed))
    with pytest.raises(
        InputError, match=r"^me/changing-lines/data/.*jsonl changed .* what is encoded of it may hold both"
    ):
        read("me/changing-lines")


def test_a_file_that_is_no_parquet_is_told_by_its_name(hub, read):
    hub.repo("me/broken", shards(b"no parquet " * 300))
    with pytest.raises(InputError, match=r"^me/broken/data/train-00000-of-00001\.parquet cannot be read as parquet: "):
        read("me/broken")


def test_a_dataset_that_needs_code_of_its_own_is_told(hub, read):
    hub.repo("me/script", {"script.py": b"import datasets"})
    with pytest.raises(InputError, match=r"^dataset_path='me/script': Dataset scripts are no longer supported, "):
        read("me/script")

from __future__ import annotations

import copy
import json
import os
import shutil
import threading
import time
from itertools import islice, zip_longest

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from filelock import FileLock

from sae_kedro import InputError, get_experiment_cfg
from sae_kedro.activations import cache as cache_module
from sae_kedro.activations import chunks as chunks_module
from sae_kedro.activations.cache import EmbeddingCache
from sae_kedro.activations.encoder import TextEncoder
from sae_kedro.activations.shards import LOCK_FILE, DamagedShardError, read_shard, write_shard
from sae_kedro.corpora.base import text_hash
from sae_kedro.corpora.opening import open_corpus
from stub_models import CountingEncoder, HashModel, NotFiniteModel


@pytest.fixture(scope="module", autouse=True)
def _small_shards():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunks_module, "SHARD_SIZE", 8)
        yield


@pytest.fixture(scope="module")
def texts(docs) -> list[str]:
    """30 distinct short texts: three full shards and one of 6."""
    return [f"{number}. {text[:40]}" for number, text in enumerate(docs[:30])]


@pytest.fixture(scope="module")
def rows(texts) -> list[str]:
    """The texts, and an empty row within the second shard."""
    return [*texts[:12], "", *texts[12:]]


def opened(folder, rows, model, limit=None, name="cache"):
    file = folder / "corpus.jsonl"
    file.write_text("".join(json.dumps({"text": row}) + "\n" for row in rows))
    size = getattr(model, "act_size", 384)
    cfg = get_experiment_cfg(dataset_path=str(file), act_size=size, dtype="float32", device="cpu")
    return EmbeddingCache(folder / name, open_corpus(cfg), CountingEncoder(cfg, model), limit)


@pytest.fixture
def make_cache(tmp_path, minilm):
    """Open a cache over rows, again and again in one folder if need be."""

    def make(rows, limit=None, model=minilm):
        return opened(tmp_path, rows, model, limit)

    return make


@pytest.fixture(scope="module")
def sound(tmp_path_factory, rows, minilm):
    """A cache of the rows that nothing happened to."""
    return filled(opened(tmp_path_factory.mktemp("sound"), rows, minilm))


@pytest.fixture
def encoded(tmp_path, sound):
    """A folder with a copy of the sound shards, where `make_cache` opens its caches."""
    return shutil.copytree(sound.folder, tmp_path / "cache")


def filled(cache):
    cache.fill()
    return cache


def texts_of(cache):
    return [text for index in cache.iter_shards() for text in cache.texts(index)]


def vectors_of(cache):
    return torch.cat([cache.read(index).vectors for index in cache.iter_shards()])


def assert_same_rows(cache, expected):
    assert texts_of(cache) == texts_of(expected)
    assert torch.equal(vectors_of(cache), vectors_of(expected))


def shard_files(cache):
    return sorted(path.name for path in cache.folder.iterdir() if path.name != LOCK_FILE)


def test_shards_hold_every_text_its_hash_and_its_embedding_in_order(make_cache, minilm, texts):
    cache = filled(make_cache(texts))
    assert texts_of(cache) == texts
    np.testing.assert_allclose(vectors_of(cache), minilm.encode(texts), atol=1e-5)
    hashes = [value for index in cache.iter_shards() for value in cache.read(index).hashes.tolist()]
    assert hashes == [text_hash(text) for text in texts]
    assert shard_files(cache) == [f"shard-0000{index}.parquet" for index in range(4)]
    assert [info.n_texts for info in cache.shards] == [8, 8, 8, 6]


def test_pandas_reads_the_shards(make_cache, texts):
    cache = filled(make_cache(texts))
    frame = pd.read_parquet(cache.folder)
    assert list(frame.columns) == ["text", "hash", "embedding"]
    assert frame["text"].tolist() == texts
    np.testing.assert_array_equal(np.stack(frame["embedding"]), vectors_of(cache))


def test_datasets_streams_the_shards(make_cache, texts):
    from datasets import load_dataset

    cache = filled(make_cache(texts))
    files = sorted(map(str, cache.folder.glob("*.parquet")))
    rows = list(load_dataset("parquet", data_files=files, split="train", streaming=True))
    assert [row["text"] for row in rows] == texts
    np.testing.assert_array_equal(np.array([row["embedding"] for row in rows], np.float32), vectors_of(cache))


def test_a_second_open_encodes_nothing(make_cache, texts):
    first = filled(make_cache(texts))
    second = filled(make_cache(texts))
    assert first.encoder.encoded == texts
    assert second.encoder.encoded == []
    assert second.complete and second.n_texts == 30
    assert_same_rows(second, first)


def test_more_examples_encode_only_the_rest_and_keep_the_earlier_vectors(make_cache, texts):
    earlier = vectors_of(filled(make_cache(texts, limit=11)))
    longer = filled(make_cache(texts, limit=21))
    assert longer.encoder.encoded == texts[11:21]
    assert texts_of(longer) == texts[:21]
    assert torch.equal(vectors_of(longer)[:11], earlier)
    whole = filled(make_cache(texts))
    assert whole.encoder.encoded == texts[21:]
    assert texts_of(whole) == texts


def test_a_limit_inside_a_shard_cuts_it(make_cache, texts):
    whole = filled(make_cache(texts))
    cut = filled(make_cache(texts, limit=11))
    assert cut.encoder.encoded == []
    assert cut.complete and cut.n_texts == 11
    assert list(cut.iter_shards()) == [0, 1]
    assert texts_of(cut) == texts[:11]
    assert torch.equal(vectors_of(cut), vectors_of(whole)[:11])


@pytest.mark.parametrize("limit", [8, 16])
def test_a_limit_at_the_end_of_a_shard_encodes_no_text_more(make_cache, texts, limit):
    cache = filled(make_cache(texts, limit=limit))
    assert cache.encoder.encoded == texts[:limit]
    assert cache.complete
    assert [info.n_texts for info in cache.shards] == [8] * (limit // 8)


def test_a_limit_beyond_the_corpus_is_complete_with_the_corpus(make_cache, texts):
    assert filled(make_cache(texts, limit=1000)).n_texts == 30
    again = filled(make_cache(texts, limit=1000))
    assert again.complete and again.encoder.encoded == []


def test_an_interrupted_run_goes_on_at_the_last_shard_and_ends_with_the_same_rows(make_cache, rows, texts, sound):
    interrupted = make_cache(rows)
    interrupted.encoder.fail_after = 20
    with pytest.raises(KeyboardInterrupt):
        interrupted.fill()
    assert shard_files(interrupted) == ["shard-00000.parquet", "shard-00001.parquet"]
    resumed = make_cache(rows)
    assert resumed.n_texts == 16 and not resumed.complete
    resumed.fill()
    assert resumed.encoder.encoded == texts[16:]
    assert_same_rows(resumed, sound)


def test_the_same_object_goes_on_after_an_interruption(make_cache, texts):
    cache = make_cache(texts)
    cache.encoder.fail_after = 20
    with pytest.raises(KeyboardInterrupt):
        cache.fill()
    cache.encoder.fail_after = 1000
    assert texts_of(filled(cache)) == texts


def test_a_half_written_shard_is_not_used(make_cache, rows, texts, sound):
    (folder := make_cache(rows).folder).mkdir()
    whole = (sound.folder / "shard-00001.parquet").read_bytes()
    (folder / "shard-00000.tmp").write_bytes(whole)
    (folder / "shard-00001.1234.tmp").write_bytes(whole[:100])
    cache = filled(make_cache(rows))
    assert cache.encoder.encoded == texts
    assert_same_rows(cache, sound)


def test_a_full_disk_ends_in_a_sentence_and_the_cache_goes_on_where_it_was(make_cache, rows, texts, sound):
    full = make_cache(rows, limit=8)
    full.fill()
    (full.folder / "shard.tmp").symlink_to("/dev/full")  # whatever is written there finds no space, as on a full disk
    with pytest.raises(InputError) as caught:
        make_cache(rows).fill()
    assert str(caught.value) == (
        f"{full.folder} cannot be written (No space left on device); the 8 texts encoded so far are kept: make room, "
        "or set data_root to another disk, and run again"
    )
    assert shard_files(full) == ["shard-00000.parquet"]
    resumed = filled(make_cache(rows))
    assert resumed.encoder.encoded == texts[8:]
    assert_same_rows(resumed, sound)


def test_a_folder_that_cannot_be_made_ends_in_a_sentence(make_cache, texts, tmp_path):
    (tmp_path / "cache").write_text("a file where the folder of the cache must be")
    with pytest.raises(InputError, match=r"cache cannot be written \(File exists\); the 0 texts encoded"):
        make_cache(texts).fill()


def test_a_complete_cache_is_read_while_another_run_holds_the_lock(make_cache, encoded, rows, sound):
    with FileLock(encoded / LOCK_FILE):
        assert_same_rows(make_cache(rows), sound)


def test_a_run_that_finds_the_lock_taken_says_so_waits_and_takes_in_what_was_written(
    make_cache, rows, texts, sound, caplog
):
    cache = filled(make_cache(rows, limit=8))
    waiting = make_cache(rows)
    caplog.set_level("INFO")
    with FileLock(cache.folder / LOCK_FILE):
        thread = threading.Thread(target=waiting.fill)
        thread.start()
        sentence = f"Another run is encoding into {cache.folder}; waiting for it"
        while sentence not in caplog.messages:
            assert thread.is_alive()
            time.sleep(0.01)
        shutil.copy(sound.folder / "shard-00001.parquet", cache.folder)  # what the other run wrote
    thread.join()
    assert caplog.messages.count(sentence) == 1
    assert waiting.encoder.encoded == texts[16:]
    assert_same_rows(waiting, sound)


def test_a_run_goes_on_behind_a_shard_that_another_run_cut_elsewhere(make_cache, rows, texts):
    slow = make_cache(rows)
    shards = slow.iter_shards()
    next(shards)
    filled(make_cache(rows, limit=11))  # a shard of texts 8 to 10, where `slow` is about to cut at 16
    assert texts_of(filled(slow)) == texts
    assert [info.n_texts for info in slow.shards] == [8, 3, 8, 8, 3]
    assert slow.encoder.encoded == [*texts[:8], *texts[11:]]
    again = filled(make_cache(rows))
    assert again.encoder.encoded == [] and texts_of(again) == texts


def test_two_readers_of_a_cold_cache_encode_every_text_once(make_cache, texts):
    cache = make_cache(texts)
    ahead, behind = cache.iter_shards(), cache.iter_shards()
    assert next(behind) == 0
    assert list(ahead) == [0, 1, 2, 3]
    assert list(behind) == [1, 2, 3]
    assert cache.encoder.encoded == texts
    assert texts_of(cache) == texts


def test_two_readers_that_take_turns_encode_every_text_once(make_cache, texts):
    cache = make_cache(texts)
    turns = list(zip_longest(cache.iter_shards(), cache.iter_shards()))
    assert turns == [(0, 0), (1, 1), (2, 2), (3, 3)]
    assert cache.encoder.encoded == texts


def damage(file, how, column=2):
    data = bytearray(file.read_bytes())
    if how == "flipped byte":
        # A column's page is a header and then its data, so 5 bytes before its end is data: by default an embedding.
        page = pq.read_metadata(file).row_group(0).column(column)
        data[page.data_page_offset + page.total_compressed_size - 5] ^= 1
    file.write_bytes({"flipped byte": data, "truncated": data[:-100], "emptied": b""}[how])


def test_a_disk_that_damages_what_was_just_written_is_told_in_one_sentence(make_cache, encoded, rows, monkeypatch):
    def write_and_damage(file, *rest):
        write_shard(file, *rest)
        damage(file, "truncated")

    cache = make_cache(rows)
    damage(encoded / "shard-00001.parquet", "truncated")
    monkeypatch.setattr(cache_module, "write_shard", write_and_damage)
    with pytest.raises(InputError, match=r"shard-00001.parquet was damaged, and is so again .* check the disk"):
        cache.read(1)


@pytest.mark.parametrize("index", [0, 1, 3], ids=["first", "middle", "last"])
@pytest.mark.parametrize("how", ["flipped byte", "truncated", "emptied"])
def test_a_damaged_shard_is_named_and_encoded_again(make_cache, encoded, rows, texts, sound, caplog, index, how):
    file = encoded / f"shard-0000{index}.parquet"
    damage(file, how)
    mended = make_cache(rows)
    assert torch.equal(vectors_of(mended), vectors_of(sound))
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert f"Shard {file} is damaged" in caplog.text and "encoding it again" in caplog.text
    assert mended.encoder.encoded == texts[8 * index : 8 * index + 8]
    assert mended.shards == sound.shards
    assert_same_rows(make_cache(rows), sound)


def test_every_flipped_bit_of_a_shard_is_found(tmp_path):
    cache = filled(opened(tmp_path, ["one", "two"], HashModel(2)))
    file = cache.folder / "shard-00000.parquet"
    data, found = file.read_bytes(), 0
    for place in range(len(data)):
        for bit in range(8):
            file.write_bytes(data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :])
            with pytest.raises(DamagedShardError):
                read_shard(file, ["text", "hash", "embedding"])
            found += 1
    assert found == 8 * len(data) > 8000
    file.write_bytes(data)
    assert read_shard(file, ["text"])[1]["text"].to_pylist() == ["one", "two"]


EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "2000"))


@pytest.mark.parametrize("n_examples", [30, pytest.param(EXAMPLES, marks=pytest.mark.fuzz)])
def test_damage_anywhere_is_named_and_mended_to_the_byte(tmp_path, rows, n_examples, caplog):
    whole = filled(opened(tmp_path, rows, HashModel(4)))
    expected = {file.name: file.read_bytes() for file in whole.folder.glob("shard-*")}
    rng = np.random.default_rng(0)
    for _ in range(n_examples):
        name = rng.choice(sorted(expected))
        data = bytearray(expected[name])
        match rng.integers(4):
            case 0:
                data[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
            case 1:
                del data[rng.integers(len(data)) :]
            case 2:
                data += rng.bytes(rng.integers(1, 99))
            case 3:
                start = rng.integers(len(data))
                data[start : start + 64] = rng.bytes(64)
        (whole.folder / name).write_bytes(data)
        caplog.clear()
        mended = opened(tmp_path, rows, HashModel(4))
        assert_same_rows(mended, whole)
        assert [message.split(" (")[0] for message in caplog.messages] == [f"Shard {whole.folder / name} is damaged"]
        assert mended.shards == whole.shards
        assert {file.name: file.read_bytes() for file in whole.folder.glob("shard-*")} == expected


@pytest.mark.parametrize("pair", [(0, 1), (1, 2), (0, 3), (2, 3)])
def test_shards_that_changed_places_are_named_and_put_right(make_cache, encoded, rows, sound, caplog, pair):
    first, second = (encoded / f"shard-0000{index}.parquet" for index in pair)
    first.rename(encoded / "aside")
    second.rename(first)
    (encoded / "aside").rename(second)
    assert_same_rows(filled(make_cache(rows)), sound)
    assert f"Shard {first} is damaged (it starts at row" in caplog.text
    again = filled(make_cache(rows))
    assert again.encoder.encoded == [] and again.shards == sound.shards


def test_shards_that_change_places_while_the_cache_is_open_are_put_right(make_cache, encoded, rows, sound, caplog):
    cache = make_cache(rows)
    shutil.copy(encoded / "shard-00000.parquet", encoded / "shard-00001.parquet")
    assert_same_rows(cache, sound)
    assert "is damaged (it starts at row 0 of the corpus where row 8 must come)" in caplog.text


def test_a_shard_of_another_corpus_is_named_and_replaced(make_cache, tmp_path, encoded, rows, sound, caplog):
    other = filled(opened(tmp_path, [f"other {row}" for row in rows], HashModel(), name="other"))
    shutil.move(other.folder / "shard-00001.parquet", encoded / "shard-00001.parquet")
    assert_same_rows(filled(make_cache(rows)), sound)
    assert f"Shard {encoded / 'shard-00001.parquet'} is damaged (it belongs to other)" in caplog.text


def test_a_shard_of_an_earlier_version_is_named_and_replaced(make_cache, encoded, rows, sound, caplog):
    for file in encoded.glob("shard-*"):
        table = pq.read_table(file)
        pq.write_table(table, file)  # without checksums, as it was once
    assert_same_rows(filled(make_cache(rows)), sound)
    assert "is damaged (its checksum is wrong, or an earlier version wrote it without one)" in caplog.text


def test_a_flipped_byte_in_the_texts_is_found_when_they_are_read(make_cache, encoded, rows, texts, caplog):
    file = encoded / "shard-00001.parquet"
    damage(file, "flipped byte", column=0)
    assert texts_of(make_cache(rows)) == texts
    assert f"Shard {file} is damaged" in caplog.text


@pytest.mark.parametrize(
    ("told", "false"),
    [
        (b'"n_texts": 8', b'"n_texts": 7'),
        (b'"first_row": 8', b'"first_row": 9'),
        (b'"next_row": 17', b'"next_row": 18'),
        (b'"empty": 1', b'"empty": 3'),
        (b'"skipped"', b'"skippex"'),
    ],
)
def test_a_shard_whose_own_account_cannot_be_true_is_encoded_again(make_cache, encoded, rows, sound, told, false):
    file = encoded / "shard-00001.parquet"
    data = file.read_bytes()
    assert data.count(told) == 1
    file.write_bytes(data.replace(told, false))
    mended = filled(make_cache(rows))
    assert_same_rows(mended, sound)
    assert mended.shards == sound.shards


def test_shards_that_are_lost_while_the_cache_is_open_are_encoded_again(make_cache, encoded, rows, sound):
    cache = make_cache(rows)
    for file in encoded.iterdir():
        file.unlink()
    assert_same_rows(cache, sound)
    assert cache.shards == sound.shards


@pytest.mark.parametrize("which", [(0, 1), (1, 2), (2, 3), (0, 1, 2, 3)])
def test_neighbouring_damaged_shards_are_all_encoded_again(make_cache, encoded, rows, sound, caplog, which):
    for index in which:
        damage(encoded / f"shard-0000{index}.parquet", "truncated")
    assert_same_rows(filled(make_cache(rows)), sound)
    assert f"shard-0000{which[0]}.parquet is damaged" in caplog.text
    again = filled(make_cache(rows))
    assert again.encoder.encoded == []
    assert_same_rows(again, sound)


def test_a_missing_shard_is_encoded_again(make_cache, encoded, rows, texts, sound):
    (encoded / "shard-00001.parquet").unlink()
    cache = make_cache(rows)
    assert cache.shards == sound.shards  # those behind the gap count as soon as it is closed
    filled(cache)
    assert cache.encoder.encoded == texts[8:16]
    assert_same_rows(cache, sound)


def test_shards_that_do_not_continue_one_another_are_not_strung_together(make_cache, encoded, rows, texts):
    # A shard of texts 0 to 4 in front of shards that start at text 8: what is between them must not be lost.
    shards = [file.rename(file.with_suffix(".away")) for file in sorted(encoded.iterdir())]
    filled(make_cache(rows, limit=5))
    for file in shards[1:]:
        file.rename(file.with_suffix(".parquet"))
    assert texts_of(filled(make_cache(rows))) == texts
    assert texts_of(filled(make_cache(rows))) == texts


def test_a_gap_is_not_closed_with_a_shard_of_earlier_rows(make_cache, encoded, rows, sound):
    for index in (1, 2, 3):
        (encoded / f"shard-0000{index}.parquet").unlink()
    shutil.copy(encoded / "shard-00000.parquet", encoded / "shard-00002.parquet")
    cache = filled(make_cache(rows))
    assert_same_rows(cache, sound)
    assert cache.shards == sound.shards


def test_rows_without_text_are_counted_by_reason_and_reported(make_cache, caplog):
    rows = ["one", None, "", "two", 3, " ", "three", None]
    cache = filled(make_cache(rows))
    assert texts_of(cache) == ["one", "two", "three"]
    assert cache.skipped == {"null": 2, "empty": 2, "not text": 1}
    assert "Skipped rows of" in caplog.text and "2 null, 2 empty, 1 not text" in caplog.text
    assert make_cache(rows).skipped == cache.skipped


def test_skipped_rows_are_counted_over_shards_and_do_not_count_as_texts(make_cache, texts):
    rows = [value for text in texts for value in (None, text, "")]
    cache = filled(make_cache(rows, limit=20))
    assert texts_of(cache) == texts[:20]
    # A null before each of the 20 texts and an empty row between them; a full shard ends with its last text.
    assert cache.skipped == {"null": 20, "empty": 19}
    whole = filled(make_cache(rows))
    assert texts_of(whole) == texts
    assert whole.skipped == {"null": 30, "empty": 30}


@pytest.mark.parametrize("model", ["real", "stub"])
def test_empty_rows_behind_a_full_shard_end_the_corpus(make_cache, minilm, texts, model):
    rows = [*texts[:8], "", None]
    cache = filled(make_cache(rows, model=minilm if model == "real" else HashModel()))
    assert texts_of(cache) == texts[:8]
    assert cache.skipped == {"empty": 1, "null": 1}
    assert cache.complete
    again = filled(make_cache(rows, model=minilm if model == "real" else HashModel()))
    assert again.encoder.encoded == [] and again.n_texts == 8


def test_vectors_that_are_not_finite_are_skipped_counted_and_reported(make_cache, texts, caplog):
    rows = [*texts[:5], "NaN", *texts[5:12], "infinity", *texts[12:]]
    cache = filled(make_cache(rows, model=NotFiniteModel()))
    assert texts_of(cache) == texts
    assert vectors_of(cache).isfinite().all()
    assert cache.skipped == {"not finite": 2}
    assert "2 not finite" in caplog.text


def test_a_limit_counts_finite_vectors_and_is_reached_at_once(make_cache, texts):
    rows = [*texts[:5], "NaN", *texts[5:12], "infinity", *texts[12:]]
    cache = filled(make_cache(rows, limit=20, model=NotFiniteModel()))
    assert cache.complete and texts_of(cache) == texts[:20]
    again = filled(make_cache(rows, limit=20, model=NotFiniteModel()))
    assert again.encoder.encoded == []
    assert texts_of(again) == texts[:20]


def test_a_shard_of_nothing_but_vectors_that_are_not_finite_is_empty(make_cache, texts):
    rows = [*(f"NaN {number}" for number in range(8)), *texts[:8]]
    cache = filled(make_cache(rows, model=NotFiniteModel()))
    assert [info.n_texts for info in cache.shards] == [0, 8]
    assert texts_of(cache) == texts[:8]
    assert cache.read(0).vectors.shape == (0, 16)


def test_a_corpus_without_any_usable_vector_is_refused_with_the_reason(make_cache):
    with pytest.raises(InputError, match=r"corpus\.jsonl' holds no text; skipped: \{'not finite': 3\}"):
        make_cache(["NaN 1", "NaN 2", "NaN 3"], model=NotFiniteModel()).fill()


def test_lone_surrogates_are_replaced_on_the_way_in(make_cache):
    cache = filled(make_cache(["half \ud83d of a pair"]))
    assert texts_of(cache) == cache.encoder.encoded == ["half ? of a pair"]


def test_the_folder_follows_all_that_changes_the_vectors_and_nothing_else(make_cfg, minilm, corpus_file, tmp_path):
    def folder(model=minilm, **options):
        cfg = make_cfg(**({"dataset_path": str(corpus_file), "act_size": 384, "dtype": "float32"} | options))
        return EmbeddingCache.open(cfg, open_corpus(cfg), TextEncoder(cfg, model)).folder

    twin = copy.deepcopy(minilm)
    with torch.no_grad():
        next(twin.parameters())[7, 7] += 1e-3
    table = tmp_path / "table.csv"
    table.write_text("text,title\none,two\n")
    assert folder().parent == tmp_path / "data" / "04_feature" / "embeddings"
    assert folder().name.startswith("docs-")
    speed = {"num_examples": 7, "batch_size": 8, "buffer_size": 16, "seed": 3, "model_batch_size": 9, "dict_size": 99}
    assert folder() == folder(**speed)
    different = [
        folder(),
        folder(None),
        folder(twin),
        folder(dtype="bfloat16"),
        folder(max_seq_length=16),
        folder(dataset_path=str(table)),
        folder(dataset_path=str(table), text_column="title"),
        folder(dataset_path="python-docs"),
    ]
    assert len(set(different)) == len(different)


def test_the_corpus_is_read_once(make_cache, texts, monkeypatch):
    cache, starts = make_cache(texts), []
    rows = cache.corpus.rows
    monkeypatch.setattr(cache.corpus, "rows", lambda start: starts.append(start) or rows(start))
    assert texts_of(filled(cache)) == texts
    assert starts == [0]


def test_streaming_stops_where_the_reader_stops(make_cache, texts):
    cache = make_cache(texts)
    assert list(islice(cache.iter_shards(), 2)) == [0, 1]
    assert cache.encoder.encoded == texts[:16]
    assert not cache.complete and cache.n_texts == 16


def test_a_clean_run_warns_of_nothing(make_cache, texts, caplog):
    filled(make_cache(texts))
    filled(make_cache(texts))
    assert [record.message for record in caplog.records if record.levelname != "INFO"] == []

from __future__ import annotations

import gc
import json
import random
import subprocess
import sys
from collections import Counter
from itertools import islice
from pathlib import Path

import pytest
import torch

from sae_kedro import ActivationsStoreSBERT
from sae_kedro.activations import chunks as chunks_module
from sae_kedro.corpora.base import text_hash
from stub_models import HashModel

HELD_OUT, CALIBRATION, TRAINING = "held out", "calibration", "training"


@pytest.fixture(scope="module")
def texts(docs) -> list[str]:
    """200 distinct short texts."""
    return [f"{number}. {text[:30]}" for number, text in enumerate(docs[:200])]


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch):
    monkeypatch.setattr(chunks_module, "SHARD_SIZE", 32)


@pytest.fixture
def make_store(tmp_path, make_cfg, minilm):
    """A store over texts: by the real model and its cache, or by a stub."""

    def make(texts, model=minilm, **options):
        file = tmp_path / "corpus.jsonl"
        file.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
        small = {"act_size": getattr(model, "act_size", 384), "dtype": "float32", "max_seq_length": 8, "batch_size": 16}
        cfg = make_cfg(**(small | {"dataset_path": str(file), "eval_fraction": 0.2, "num_examples": None} | options))
        return ActivationsStoreSBERT(model, cfg)

    return make


def part_of(text, eval_fraction=0.2):
    position = text_hash(text) / 2**64
    if position < eval_fraction:
        return HELD_OUT
    return CALIBRATION if position < 1.5 * eval_fraction else TRAINING


def names_of(texts, model):
    """The text behind each embedding of a stub model, to tell rows apart."""
    return {row.tobytes(): text for row, text in zip(model.encode(texts), texts, strict=True)}


def rows_of(batches):
    return [row.numpy().tobytes() for batch in batches for row in batch]


def same(batches, others):
    batches, others = list(batches), list(others)
    return len(batches) == len(others) and all(map(torch.equal, batches, others))


def test_next_batch_gives_batches_of_the_real_embeddings(make_store, minilm, texts, monkeypatch):
    store = make_store(texts)
    batch = store.next_batch()
    assert batch.shape == (16, 384) and batch.dtype == torch.float32
    assert not batch.requires_grad
    training = [text for text in texts if part_of(text) == TRAINING]
    monkeypatch.setattr(minilm, "max_seq_length", 8)
    expected = minilm.encode(training, convert_to_tensor=True)
    served = torch.cat(list(store.epoch(0)))
    # Each served row is one training embedding: embeddings have norm 1, so that its own has the largest product.
    owners = (served @ expected.T).argmax(dim=1)
    assert sorted(owners.tolist()) == list(range(len(training)))
    torch.testing.assert_close(served, expected[owners], atol=1e-5, rtol=0)


@pytest.mark.parametrize("buffer_size", [1, 40, 100, 10_000])
@pytest.mark.parametrize("batch_size", [1, 16, 50])
def test_every_training_text_is_served_once_per_epoch(make_store, texts, buffer_size, batch_size):
    model = HashModel()
    names = names_of(texts, model)
    training = sorted(text for text in texts if part_of(text) == TRAINING)
    store = make_store(texts, model, buffer_size=buffer_size, batch_size=batch_size, n_epochs=3)
    sizes = []
    for number in range(3):
        batches = list(store.epoch(number))
        assert sorted(names[row] for row in rows_of(batches)) == training
        sizes.append([len(batch) for batch in batches])
    whole, rest = divmod(len(training), batch_size)
    assert sizes == [[batch_size] * whole + [rest] * (rest > 0)] * 3


def test_next_batch_goes_through_all_epochs_and_then_stops(make_store, texts):
    store = make_store(texts, HashModel(), n_epochs=3)
    expected = [batch for number in range(3) for batch in store.epoch(number)]
    assert same([store.next_batch() for _ in expected], expected)
    for _ in range(2):
        with pytest.raises(StopIteration):
            store.next_batch()


def test_iterating_starts_from_the_first_epoch_whatever_was_served_before(make_store, texts):
    store = make_store(texts, HashModel())
    first = store.next_batch()
    assert torch.equal(next(iter(store)), first)
    assert same(store, [batch for number in range(2) for batch in store.epoch(number)])


def test_the_parts_are_disjoint_and_hold_every_text(make_store, texts):
    model = HashModel()
    names = names_of(texts, model)
    store = make_store(texts, model)
    served = {
        HELD_OUT: [names[row] for row in rows_of(store.eval_batches())],
        CALIBRATION: [names[row] for row in rows_of(store.calibration_batches())],
        TRAINING: [names[row] for row in rows_of(store.train_batches())],
    }
    # In corpus order, and as the hash says.
    assert served == {part: [text for text in texts if part_of(text) == part] for part in served}
    assert sorted(text for part in served.values() for text in part) == sorted(texts)
    # 200 texts, of which 20 % are held out, 10 % calibrate and 70 % train: 40, 20, 140, within 4 standard deviations
    # of a binomial: sqrt(200 * 0.2 * 0.8) = 5.7, sqrt(200 * 0.1 * 0.9) = 4.2.
    assert abs(len(served[HELD_OUT]) - 40) < 23 and abs(len(served[CALIBRATION]) - 20) < 17


def test_the_text_alone_decides_its_part_not_its_place_or_company(make_store, texts):
    model = HashModel()
    names = names_of(texts, model)
    held_out = {names[row] for row in rows_of(make_store(texts, model).eval_batches())}
    shuffled = random.Random(1).sample(texts, len(texts))
    assert {names[row] for row in rows_of(make_store(shuffled, model).eval_batches())} == held_out
    half = {names[row] for row in rows_of(make_store(texts, model, num_examples=100).eval_batches())}
    assert half == held_out & set(texts[:100])


def test_duplicates_stay_on_one_side(make_store, texts):
    model = HashModel()
    names = names_of(texts, model)
    store = make_store(texts + texts[:90] + texts[:30], model)
    counts = Counter(names[row] for row in rows_of(store.eval_batches()))
    assert counts == {
        text: 1 + (number < 90) + (number < 30) for number, text in enumerate(texts) if part_of(text) == HELD_OUT
    }
    assert not counts.keys() & {names[row] for row in rows_of(store.train_batches())}


@pytest.mark.parametrize("buffer_size", [40, 10_000])
def test_one_seed_gives_one_order_and_another_seed_another(make_store, texts, buffer_size):
    def served(seed):
        return list(make_store(texts, HashModel(), seed=seed, buffer_size=buffer_size))

    assert same(served(0), served(0))
    other = served(1)
    assert not same(served(0), other)
    assert sorted(rows_of(other)) == sorted(rows_of(served(0)))


@pytest.mark.parametrize("buffer_size", [40, 10_000])
def test_every_epoch_has_its_own_order(make_store, texts, buffer_size):
    store = make_store(texts, HashModel(), buffer_size=buffer_size)
    epochs = [rows_of(store.epoch(number)) for number in range(4)]
    for first in range(4):
        for second in range(first):
            assert epochs[first] != epochs[second]
    assert rows_of(store.epoch(2)) == epochs[2]
    # A shuffle of 140 rows leaves one row in place on average: not half of them.
    in_place = sum(row == other for row, other in zip(epochs[0], epochs[1], strict=True))
    assert in_place < len(epochs[0]) / 2


def test_a_buffer_mixes_the_texts_of_its_shards(make_store, texts):
    model = HashModel()
    place = {row: texts.index(text) for row, text in names_of(texts, model).items()}
    store = make_store(texts, model, buffer_size=10_000)
    first_batch = [place[row] for row in rows_of(islice(store.epoch(0), 1))]
    # 16 texts of 140 drawn without order: the chance that none comes from the second half is below 1 in 10,000.
    assert min(first_batch) < 100 < max(first_batch)
    assert first_batch != sorted(first_batch)


def test_a_small_buffer_meets_other_texts_in_later_epochs(make_store, texts):
    model = HashModel()
    place = {row: texts.index(text) for row, text in names_of(texts, model).items()}
    store = make_store(texts, model, buffer_size=40)
    first_rows = [[place[row] for row in rows_of(islice(store.epoch(number), 2))] for number in range(6)]
    # 32 rows come from the first two or three of seven shards: in the first epoch in corpus order, later in any order.
    assert max(first_rows[0]) < 100
    assert max(max(rows) for rows in first_rows[1:]) > 160


@pytest.mark.parametrize("buffer_size", [40, 10_000])
def test_a_cold_and_a_warm_cache_serve_identical_batches(make_store, texts, buffer_size):
    cold = make_store(texts, buffer_size=buffer_size)
    assert cold.cache.n_texts == 0
    batches = list(cold)
    warm = make_store(texts, buffer_size=buffer_size)
    assert warm.cache.complete
    assert same(warm, batches)


def test_texts_are_encoded_as_batches_are_asked_for(make_store, texts):
    store = make_store(texts, HashModel(), buffer_size=30)
    store.next_batch()
    assert 0 < store.cache.n_texts < 100


@pytest.mark.parametrize("buffer_size", [30, 10_000])
def test_evaluating_in_the_middle_of_a_cold_epoch_changes_nothing(make_store, texts, buffer_size):
    undisturbed = make_store(texts, HashModel(), buffer_size=buffer_size)
    expected, held_out = list(undisturbed.epoch(0)), list(undisturbed.eval_batches())
    store = make_store(texts, HashModel(), buffer_size=buffer_size)
    served = [store.next_batch()]
    assert same(store.eval_batches(), held_out)
    served += [store.next_batch() for _ in expected[1:]]
    assert same(served, expected)
    assert store.cache.n_texts == 200


@pytest.mark.parametrize("batches", ["eval_batches", "calibration_batches", "train_batches"])
def test_parts_are_the_same_rows_whatever_the_batch_size(make_store, texts, batches):
    store = make_store(texts, HashModel())
    whole = torch.cat(list(getattr(store, batches)(10_000)))
    for size in (1, 7, len(whole)):
        pieces = list(getattr(store, batches)(size))
        assert {len(piece) for piece in pieces[:-1]} <= {size}
        assert 0 < len(pieces[-1]) <= size
        assert torch.equal(torch.cat(pieces), whole)


def test_train_batches_are_the_same_before_and_after_training(make_store, texts):
    store = make_store(texts, HashModel())
    before = list(store.train_batches(50))
    list(store)
    assert same(store.train_batches(50), before)


def test_eval_batches_have_the_training_batch_size_by_default(make_store, texts):
    assert len(next(make_store(texts, HashModel(), batch_size=5).eval_batches())) == 5


def test_fewer_texts_than_a_batch_are_one_smaller_batch(make_store, texts):
    store = make_store(texts[:5], HashModel(), eval_fraction=0.0, batch_size=64)
    assert [batch.shape for batch in store] == [(5, 16), (5, 16)]


def test_one_text_is_a_corpus(make_store):
    store = make_store(["alone"], HashModel(), eval_fraction=0.0)
    assert store.next_batch().shape == (1, 16)


def test_nothing_is_held_out_at_eval_fraction_0(make_store, texts):
    store = make_store(texts, HashModel(), eval_fraction=0.0)
    assert list(store.eval_batches()) == list(store.calibration_batches()) == []
    assert sum(map(len, store.epoch(0))) == 200


@pytest.mark.parametrize("eval_fraction", [0.8, 1.0])
def test_nothing_is_left_to_train_on_at_a_large_eval_fraction(make_store, texts, eval_fraction):
    store = make_store(texts, HashModel(), eval_fraction=eval_fraction)
    held_out = sum(map(len, store.eval_batches()))
    assert held_out == sum(part_of(text, eval_fraction) == HELD_OUT for text in texts)
    assert held_out + sum(map(len, store.calibration_batches())) == 200
    assert list(store.train_batches()) == list(store) == []
    with pytest.raises(StopIteration):
        store.next_batch()


def test_num_examples_beyond_the_corpus_and_within_it(make_store, texts):
    assert sum(map(len, make_store(texts, HashModel(), eval_fraction=0.0, num_examples=999).epoch(0))) == 200
    assert sum(map(len, make_store(texts, HashModel(), eval_fraction=0.0, num_examples=50).epoch(0))) == 50


def test_rows_without_text_are_left_out(make_store, texts):
    model = HashModel()
    store = make_store([None, *texts[:40], "", *texts[40:64], " ", None], model, eval_fraction=0.0)
    assert sorted(rows_of(store.epoch(0))) == sorted(names_of(texts[:64], model))
    assert rows_of(store.train_batches()) == list(names_of(texts[:64], model))


def test_the_cache_of_a_model_without_weights_goes_with_the_store(make_store, tmp_path, texts):
    store = make_store(texts, HashModel())
    store.next_batch()
    folder = store.cache.folder
    assert list(folder.glob("*.parquet")) and tmp_path not in folder.parents
    del store
    gc.collect()
    assert not folder.exists()
    assert not (tmp_path / "data").exists()


def test_a_store_without_a_model_loads_the_named_one(make_store, texts):
    by_name = make_store(texts[:20], None, act_size=384)
    assert torch.allclose(by_name.next_batch(), make_store(texts[:20]).next_batch(), atol=1e-6)


def test_a_cache_that_is_open_already_can_be_served(make_store, make_cfg, texts):
    store = make_store(texts, HashModel())
    again = ActivationsStoreSBERT.from_cache(store.cache, make_cfg(batch_size=16, eval_fraction=0.2))
    assert same(again, store)


def test_the_buffer_that_was_served_is_let_go_before_the_next_one_is_filled(make_store, texts):
    store = make_store(texts, HashModel(13), buffer_size=64)  # no other tensor here has 13 columns
    read, buffers = store.cache.read, []

    def counted(index):
        tensors = [thing for thing in gc.get_objects() if type(thing) is torch.Tensor]
        buffers.append(sum(tensor.dim() == 2 and tensor.shape[1] == 13 and len(tensor) >= 64 for tensor in tensors))
        return read(index)

    store.cache.read = counted
    assert sum(map(len, store.epoch(0))) > 128
    assert set(buffers) == {0, 1} and len(buffers) == 7  # the one that is being filled


MEMORY_OF_ONE_EPOCH = """
import resource, sys
from pathlib import Path
import pyarrow.dataset
from stub_models import HashModel
from sae_kedro import ActivationsStoreSBERT, get_experiment_cfg, post_init_cfg


def megabytes(field):
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return next(int(line.split()[1]) for line in status.open() if line.startswith(field)) / 2**10


n_texts, file = int(sys.argv[1]), Path(sys.argv[2])
with file.open("w") as handle:
    handle.writelines(f"Sentence {number} of a corpus that is too long to be kept.\\n" for number in range(n_texts))
options = {"num_examples": None, "act_size": 64, "n_epochs": 1, "device": "cpu", "buffer_size": 65_536}
cfg = post_init_cfg(get_experiment_cfg(dataset_path=str(file), **options))
before = megabytes("VmRSS")
served = sum(map(len, ActivationsStoreSBERT(HashModel(64), cfg)))
file.unlink()
print(served, before, megabytes("VmHWM"))
"""


@pytest.mark.parametrize("n_texts", [400_000, pytest.param(1_000_000, marks=pytest.mark.fuzz)])
def test_many_texts_take_the_memory_of_a_hundred_thousand(n_texts, tmp_path):
    # A process each, and the peak of its own memory: on Linux, ru_maxrss of a child starts at the size of its parent.
    def start(n_texts):
        command = [sys.executable, "-c", MEMORY_OF_ONE_EPOCH, str(n_texts), str(tmp_path / f"{n_texts}.txt")]
        return subprocess.Popen(command, cwd=Path(__file__).parents[1], stdout=subprocess.PIPE, text=True)

    runs = [start(100_000), start(n_texts)]
    (few, _, peak_of_few), (many, before, peak) = [map(float, run.communicate()[0].split()) for run in runs]
    # 5 % of the texts are held out and 2.5 % calibrate.
    assert few == pytest.approx(92_500, rel=0.01) and many == pytest.approx(0.925 * n_texts, rel=0.01)
    assert peak <= 1.1 * peak_of_few
    assert peak - before < 1024

"""Shared fixtures: small configurations, small real corpora, the real MiniLM."""

from __future__ import annotations

import functools
import json
import os
from itertools import islice
from pathlib import Path

# one thread a process: two workers share the cores, and small tensors gain nothing from more
os.environ.update(HF_HUB_OFFLINE="1", DO_NOT_TRACK="1", TQDM_DISABLE="1", OMP_NUM_THREADS="1")

import pytest
import torch

from sae_kedro import get_experiment_cfg, post_init_cfg
from sae_kedro.corpora.kinds.python_docs import paragraphs
from sae_kedro.sae import registry

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Draw the same numbers in every test, whatever ran before it in this process."""
    torch.manual_seed(1)  # not 0, which a variant that seeds the generator is likely to take


@pytest.fixture(scope="session")
def docs() -> list[str]:
    """400 real English paragraphs."""
    return list(islice(paragraphs(), 400))


@pytest.fixture(scope="session")
def corpus_file(docs, tmp_path_factory) -> Path:
    """The paragraphs as a `.jsonl` file."""
    file = tmp_path_factory.mktemp("corpus") / "docs.jsonl"
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in docs))
    return file


@pytest.fixture(scope="session")
def minilm():
    """The real all-MiniLM-L6-v2."""
    from sentence_transformers import SentenceTransformer

    from sae_kedro.models import DEFAULT_MODEL, locate_model

    return SentenceTransformer(str(locate_model(DEFAULT_MODEL)), device="cpu")


@pytest.fixture(scope="module")
def plugins_listed_once():
    """Read the list of installed plugins from the disk once, not 20 ms for every question."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "entry_points", functools.cache(registry.entry_points))
        yield


@pytest.fixture
def make_cfg(tmp_path):
    """Build a small, checked configuration whose outputs go to a temporary folder."""

    def make(**overrides):
        small = {
            "act_size": 16,
            "dict_size": 64,
            "top_k": 4,
            "batch_size": 32,
            "n_epochs": 2,
            "wandb_mode": "disabled",
            "device": "cpu",
            "data_root": str(tmp_path / "data"),
        }
        return post_init_cfg(get_experiment_cfg(**(small | overrides)))

    return make


@pytest.fixture
def sparse_data():
    """Embeddings made of a few known directions: `make(n) -> (n, 16)`."""
    generator = torch.Generator().manual_seed(0)
    directions = torch.nn.functional.normalize(torch.randn(64, 16, generator=generator), dim=1)

    def make(n: int) -> torch.Tensor:
        active = torch.rand(n, 64, generator=generator) < 3 / 64
        return (active * torch.rand(n, 64, generator=generator)) @ directions + 0.3

    return make


class TensorStore:
    """A store over a tensor, for tests that need no texts."""

    def __init__(self, data: torch.Tensor, cfg: dict, held_out: int = 0, data_key: str = "a tensor") -> None:
        self.data_key, self.origin = data_key, {"dataset_path": None, "model_name": None}
        self.split_by = "vector"
        self.served_by = lambda cfg: TensorStore(data, cfg, held_out, data_key)
        self.batch_size, self.n_epochs = cfg["batch_size"], cfg["n_epochs"]
        self._train, self._held_out, self._seed = data[held_out:], data[:held_out], cfg["seed"]

    def epoch(self, number):
        order = torch.randperm(len(self._train), generator=torch.Generator().manual_seed(1000 * self._seed + number))
        yield from self._train[order].split(self.batch_size)

    def train_batches(self, batch_size=8192):
        yield from self._train.split(batch_size)

    def calibration_batches(self, batch_size=8192):
        yield from ()

    def eval_batches(self, batch_size=None):
        yield from self._held_out.split(batch_size or self.batch_size) if len(self._held_out) else ()

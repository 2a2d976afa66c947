"""What is measured here: this library behind the interface of `peers`, and the floors that no method gets below."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sae_kedro import SAE, ActivationsStoreSBERT, get_experiment_cfg, post_init_cfg, sae_classes, train
from sae_kedro.training.trainer import Trainer

Array = NDArray[np.float32]
VARIANTS = ("topk", "batchtopk", "vanilla", "jumprelu")


N_TRAIN = 150_000
"""Texts that steps are said to belong to: those of large corpora are dearer, for they happen in the eigenbasis."""


class Adapter:
    """Drive `Trainer.step`, as `train` does."""

    def __init__(
        self,
        variant: str,
        *,
        act_size: int,
        dict_size: int,
        top_k: int,
        batch_size: int,
        n_steps: int,
        seed: int,
        data: Tensor,
        lr: float | None = None,
        device: str = "cpu",
        **options: Any,
    ) -> None:
        """Build SAE and trainer; without `lr` the library's default applies."""
        cfg = get_experiment_cfg() | {
            "sae_type": variant,
            "act_size": act_size,
            "dict_size": dict_size,
            "top_k": top_k,
            "batch_size": batch_size,
            "lr": lr,
            "seed": seed,
            "device": device,
        }
        cfg = post_init_cfg(cfg | options)
        torch.set_float32_matmul_precision(cfg["matmul_precision"])
        self.sae = sae_classes[variant](cfg).to(device).train()
        self.sae.fit_input_scaling(data.to(device).split(8192))
        self.trainer = Trainer(self.sae, cfg, N_TRAIN, n_steps, data[:16_384].to(device))
        self.l0 = torch.zeros(())

    def step(self, x: Tensor) -> None:
        """Train on one batch."""
        self.l0 = self.trainer.step(x).l0


class EncoderProduct:
    """Floor: the encoder's float32 product alone, into memory that is there already."""

    def __init__(self, *, act_size: int, dict_size: int, batch_size: int, **_: Any) -> None:
        self.weight = torch.randn(dict_size, act_size).t()
        self.out = torch.empty(batch_size, dict_size)

    def step(self, x: Tensor) -> None:
        """Multiply."""
        torch.mm(x, self.weight, out=self.out)


class Selection(EncoderProduct):
    """Floor: the k largest of each row by one `torch.topk`."""

    def __init__(self, *, top_k: int, **sizes: Any) -> None:
        super().__init__(**sizes)
        self.top_k = top_k
        super().step(torch.randn(len(self.out), self.weight.shape[0]))

    def step(self, x: Tensor) -> None:
        """Select."""
        del x
        self.out.topk(self.top_k, dim=1, sorted=False)


FLOORS = {"encoder_product": EncoderProduct, "selection": Selection}


class Rows:
    """Embeddings in memory as `train` and `evaluate` want them: `held_out` rows at the end, calibration rows before."""

    data_key = "rows in memory"
    origin, split_by = {"dataset_path": None, "model_name": None}, "vector"

    def __init__(self, vectors: Tensor, cfg: dict[str, Any], held_out: int) -> None:
        n_train = len(vectors) - held_out - held_out // 5
        self._train, self._calibration, self._test = vectors.split([n_train, held_out // 5, held_out])
        self.batch_size, self.n_epochs, self._seed = cfg["batch_size"], cfg["n_epochs"], cfg["seed"]

    def epoch(self, number: int) -> Iterator[Tensor]:
        """Yield the shuffled minibatches of one epoch."""
        generator = torch.Generator().manual_seed(1_000 * self._seed + number)
        for chosen in torch.randperm(len(self._train), generator=generator).split(self.batch_size):
            yield self._train[chosen]

    def train_batches(self) -> Iterator[Tensor]:
        """Yield the training rows once."""
        yield from self._train.split(8192)

    def calibration_batches(self) -> Iterator[Tensor]:
        """Yield the calibration rows once."""
        yield from self._calibration.split(8192)


def trained(vectors: Tensor, held_out: int, **keys: Any) -> SAE:
    """Train an SAE on all but the last rows, with the defaults for every key that is not given."""
    cfg = post_init_cfg(get_experiment_cfg() | {"act_size": vectors.shape[1], "device": "cpu"} | keys)
    return train(sae_classes[cfg["sae_type"]](cfg), Rows(vectors, cfg, held_out), cfg)


def embedded(file: Path, n_texts: int | None, data_root: Path) -> tuple[list[str], Array]:
    """Return the texts of a corpus and their embeddings by the default model, which stay in `data_root`."""
    keys = {"dataset_path": str(file), "num_examples": n_texts, "data_root": str(data_root), "device": "cpu"}
    cache = ActivationsStoreSBERT(None, post_init_cfg(get_experiment_cfg(**keys))).cache
    texts, vectors = list[str](), list[Array]()
    for index in cache.iter_shards():
        vectors.append(cache.read(index).vectors.float().numpy())
        texts += map(str, cache.texts(index))
    return texts, np.concatenate(vectors)

"""How well an SAE reconstructs and how sparse it is, measured exactly on a stream of embeddings."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor
from tqdm.auto import tqdm

from sae_kedro.errors import InputError
from sae_kedro.sae.base import SAE
from sae_kedro.sae.codes import Codes

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)

CURVE_ROWS = 2048
"""Texts used for the curve of FVU against the number of codes kept."""


class ReconstructionMetrics:
    """Accumulates reconstruction quality in float64; the result does not depend on how rows are batched.

    Args:
        baseline: `(act_size,)`, the mean that FVU compares with: that of the training embeddings.
    """

    def __init__(self, baseline: Tensor) -> None:
        self.baseline = baseline.double()
        self.n = 0
        self._error = self._variance = self._cosine = self._norm = self._inner = 0.0

    def update(self, x: Tensor, x_hat: Tensor) -> None:
        """Count rows `x` and their reconstructions, both `(n, act_size)` in the space of the embeddings.

        Raises:
            InputError: An embedding is not finite.
        """
        x, x_hat = x.double(), x_hat.double()
        if not x.isfinite().all():
            row = self.n + int((~x.isfinite().all(dim=1)).nonzero()[0])
            raise InputError(f"embedding {row} is not finite")
        centred, centred_hat = x - self.baseline, x_hat - self.baseline
        self.n += len(x)
        self._error += float((x - x_hat).square().sum())
        self._variance += float(centred.square().sum())
        lengths = x.norm(dim=1).clamp_min(1e-12) * x_hat.norm(dim=1).clamp_min(1e-12)
        self._cosine += float(((x * x_hat).sum(dim=1) / lengths).sum())
        self._norm += float(centred_hat.square().sum())
        self._inner += float((centred * centred_hat).sum())

    def compute(self) -> dict[str, float]:
        """Return `fvu`, `explained_variance`, `mse` (per element), `cosine` and `relative_bias`.

        Raises:
            InputError: No row has been counted.
        """
        if self.n == 0:
            raise InputError("there are no texts to evaluate on; raise eval_fraction or num_examples")
        if self._variance == 0:
            logger.warning("All evaluated embeddings equal the training mean: FVU is undefined")
        fvu = self._error / self._variance if self._variance else math.nan
        return {
            "fvu": fvu,
            "explained_variance": 1 - fvu,
            "mse": self._error / (self.n * len(self.baseline)),
            "cosine": self._cosine / self.n,
            "relative_bias": self._norm / self._inner if self._inner else math.nan,
        }


class SparsityMetrics:
    """Accumulates how many latents are active per text, and how often each one is.

    Args:
        dict_size: Number of latents.
    """

    def __init__(self, dict_size: int) -> None:
        self.n = 0
        self.l0_counts = torch.zeros(dict_size + 1, dtype=torch.long)
        """`(dict_size + 1,)`: texts with 0, 1, 2, ... active latents."""
        self.firing_counts = torch.zeros(dict_size, dtype=torch.long)
        """`(dict_size,)`: texts on which each latent is active."""

    def update(self, codes: Codes) -> None:
        """Count the codes of some texts; active means non-zero, whatever the sign."""
        self.n += codes.n
        self.l0_counts += torch.bincount(codes.l0(), minlength=len(self.l0_counts)).cpu()
        self.firing_counts += codes.firing_counts().cpu()

    def compute(self) -> dict[str, float]:
        """Return the mean, deviation and quantiles of L0, and shares of silent and of very frequent latents."""
        levels = torch.arange(len(self.l0_counts), dtype=torch.float64)
        weights = self.l0_counts.double() / max(1, self.n)
        mean = float((levels * weights).sum())
        cumulative = weights.cumsum(0)
        quantiles = {
            f"l0_p{q:02d}": float(torch.searchsorted(cumulative, q / 100 - 1e-12).clamp_max(len(levels) - 1))
            for q in (1, 25, 50, 75, 99)
        }
        density = self.firing_counts.double() / max(1, self.n)
        return {
            "l0": mean,
            "l0_std": math.sqrt(max(0.0, float((levels.square() * weights).sum()) - mean**2)),
            **quantiles,
            "silent_fraction": float((self.firing_counts == 0).double().mean()),
            "dense_fraction": float((density > 0.1).double().mean()),
        }


@dataclass(frozen=True)
class Evaluation:
    """The result of evaluating one SAE on one set of texts."""

    metrics: dict[str, Any]
    """Scalars, ready for JSON."""
    l0_counts: Tensor
    """`(dict_size + 1,)`: texts by number of active latents."""
    density: Tensor
    """`(dict_size,)`: share of the evaluated texts on which each latent is active."""
    fvu_by_k: dict[int, float]
    """FVU when only the k codes of largest magnitude of each text are kept."""


class EvaluationSource(Protocol):
    """What evaluation needs of a store."""

    def eval_batches(self, batch_size: int | None = None) -> Iterator[Tensor]:
        """Yield held-out embeddings."""

    def train_batches(self, batch_size: int = 8192) -> Iterator[Tensor]:
        """Yield training embeddings."""


@torch.no_grad()
def evaluate(sae: SAE, store: EvaluationSource, batch_size: int = 1024) -> Evaluation:
    """Evaluate an SAE on embeddings it was not trained on.

    A latent counts as dead when it fired neither on the last epoch's training texts nor on these.

    Args:
        sae: A trained SAE.
        store: Where held-out embeddings come from; if it has none, training embeddings are used, with a warning.
        batch_size: Embeddings at a time; the result does not depend on it.

    Raises:
        InputError: There are no embeddings at all.
    """
    start = time.perf_counter()
    split, batches = "held_out", store.eval_batches(batch_size)
    first = next(batches, None)
    if first is None:
        logger.warning("No text is held out (raise eval_fraction or num_examples); evaluating on training texts")
        split, batches = "training", store.train_batches(batch_size)
        first = next(batches, torch.empty(0, sae.act_size))
    sae.eval()
    reconstruction, sparsity = ReconstructionMetrics(sae.train_mean), SparsityMetrics(sae.dict_size)
    head: list[Tensor] = []
    with tqdm(unit=" texts", desc="Evaluating") as bar:
        for batch in chain([first], batches):
            x, stats = sae.normalise(batch)
            codes = sae.encode_scaled(x).codes
            reconstruction.update(batch, sae.denormalise(sae.decode_scaled(codes), stats))
            sparsity.update(codes)
            if reconstruction.n - len(batch) < CURVE_ROWS:
                head.append(batch)
            bar.update(len(batch))
    metrics = reconstruction.compute() | sparsity.compute()
    silent_in_training = (sae.density.cpu() == 0) | sae.density.cpu().isnan()
    dead = silent_in_training & (sparsity.firing_counts == 0)
    finite = {name: value if math.isfinite(value) else None for name, value in metrics.items()}
    return Evaluation(
        metrics=finite
        | {
            "dead_fraction": float(dead.double().mean()),
            "split": split,
            "n_texts": reconstruction.n,
            "evaluation_seconds": round(time.perf_counter() - start, 3),
        },
        l0_counts=sparsity.l0_counts,
        density=sparsity.firing_counts.double() / reconstruction.n,
        fvu_by_k=fvu_by_k(sae, torch.cat(head)[:CURVE_ROWS]),
    )


def latent_table(sae: SAE, evaluation: Evaluation) -> pd.DataFrame:
    """List every latent: how often it fires in training and on the evaluated texts, and how its directions lie."""
    import pandas as pd

    columns = {
        "latent": range(sae.dict_size),
        "train_density": sae.density.tolist(),
        "eval_density": evaluation.density.tolist(),
    }
    if sae.linear_encoder:
        with torch.no_grad():
            columns["encoder_decoder_cosine"] = torch.cosine_similarity(sae.W_enc.t(), sae.W_dec, dim=1).tolist()
    return pd.DataFrame(columns)


@torch.no_grad()
def fvu_by_k(sae: SAE, batch: Tensor) -> dict[int, float]:
    """Measure FVU when only the 1, 2, 4, ... codes of largest magnitude of each text are kept.

    Args:
        sae: A trained SAE.
        batch: Embeddings `(n, act_size)`.
    """
    x, stats = sae.normalise(batch)
    codes = sae.encode_scaled(x).codes
    most = max(1, int(codes.l0().max()))
    curve = {}
    for k in (1 << power for power in range((most - 1).bit_length() + 1)):
        metrics = ReconstructionMetrics(sae.train_mean)
        metrics.update(batch, sae.denormalise(sae.decode_scaled(codes.largest(k)), stats))
        curve[k] = metrics.compute()["fvu"]
    return curve

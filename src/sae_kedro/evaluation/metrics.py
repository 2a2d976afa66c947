"""How well an SAE reconstructs and how sparse it is, measured exactly on a stream of embeddings."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import torch
from torch import Tensor
from tqdm.auto import tqdm

from sae_kedro.errors import InputError
from sae_kedro.evaluation.baselines import baseline_reconstructions
from sae_kedro.evaluation.bootstrap import ratio_intervals
from sae_kedro.evaluation.geometry import geometry
from sae_kedro.evaluation.representations import represent
from sae_kedro.evaluation.sample import RowSample
from sae_kedro.sae.base import SAE
from sae_kedro.sae.codes import Codes

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)

SAMPLE_ROWS = 2000
"""Texts in the fixed random sample for geometry and for the curve of FVU against the number of codes kept."""


class ReconstructionMetrics:
    """Accumulates reconstruction quality in float64; the result does not depend on how rows are batched.

    Args:
        baseline: `(act_size,)`, the mean that FVU compares with: that of the training embeddings.
    """

    def __init__(self, baseline: Tensor) -> None:
        self.baseline = baseline.double()
        self.n = 0
        self._parts = [torch.empty(0, 5, dtype=torch.float64)]

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
        lengths = x.norm(dim=1).clamp_min(1e-12) * x_hat.norm(dim=1).clamp_min(1e-12)
        columns = (
            (x - x_hat).square().sum(dim=1),
            centred.square().sum(dim=1),
            (x * x_hat).sum(dim=1) / lengths,
            centred_hat.square().sum(dim=1),
            (centred * centred_hat).sum(dim=1),
        )
        self._parts.append(torch.stack(columns, dim=1).cpu())

    def per_text(self) -> TextSums:
        """Return what the metrics are sums of, text by text."""
        return TextSums(*torch.cat(self._parts).unbind(dim=1))

    def compute(self) -> dict[str, float]:
        """Return `fvu`, `explained_variance`, `mse` (per element), `cosine` and `relative_bias`.

        Raises:
            InputError: No row has been counted.
        """
        if self.n == 0:
            raise InputError("there are no texts to evaluate on; raise eval_fraction or num_examples")
        error, variance, cosine, norm, inner = (float(column.sum()) for column in self.per_text())
        if variance == 0:
            logger.warning("All evaluated embeddings equal the training mean: FVU is undefined")
        fvu = error / variance if variance else math.nan
        return {
            "fvu": fvu,
            "explained_variance": 1 - fvu,
            "mse": error / (self.n * len(self.baseline)),
            "cosine": cosine / self.n,
            "relative_bias": norm / inner if inner else math.nan,
        }


class TextSums(NamedTuple):
    """One number per text `(n,)`, float64; metrics are their sums and ratios of those."""

    error: Tensor
    """Squared distance of the reconstruction."""
    variance: Tensor
    """Squared distance of the mean of the training embeddings."""
    cosine: Tensor
    """Cosine with the reconstruction."""
    norm: Tensor
    """Squared norm of the reconstruction about that mean."""
    inner: Tensor
    """Inner product with the reconstruction about that mean."""


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
        self._l0 = [torch.empty(0, dtype=torch.long)]

    def update(self, codes: Codes) -> None:
        """Count the codes of some texts; active means non-zero, whatever the sign."""
        l0 = codes.l0().cpu()
        self.n += codes.n
        self._l0.append(l0)
        self.l0_counts += torch.bincount(l0, minlength=len(self.l0_counts))
        self.firing_counts += codes.firing_counts().cpu()

    def per_text(self) -> Tensor:
        """Return the number of active latents of each text: `(n,)`."""
        return torch.cat(self._l0)

    def compute(self) -> dict[str, float]:
        """Return the mean, deviation and quantiles of L0, and shares of silent and of very frequent latents."""
        levels = torch.arange(len(self.l0_counts), dtype=torch.float64)
        weights = self.l0_counts.double() / max(1, self.n)
        mean = float((levels * weights).sum())
        cumulative = weights.cumsum(0)
        quantiles = {
            f"l0_p{q:02d}": float(torch.searchsorted(cumulative, q / 100 - 1e-12)) for q in (1, 25, 50, 75, 99)
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

    A latent counts as dead when it fired neither on the last epoch's training texts nor on these. Beside the SAE's
    FVU stand that of PCA with `top_k` components and that of a random dictionary (`baselines.py`), and `*_ci95` holds
    95 % bootstrap intervals over texts.

    Args:
        sae: A trained SAE.
        store: Where held-out embeddings come from; if it has none, training embeddings are used, with a warning.
            PCA is fitted on its training embeddings.
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
    baselines = baseline_reconstructions(sae, store.train_batches())
    errors: dict[str, list[Tensor]] = {name: [] for name in baselines}
    sample = RowSample(SAMPLE_ROWS)
    with tqdm(unit=" texts", desc="Evaluating") as bar:
        for batch in chain([first], batches):
            x, stats = sae.normalise(batch)
            codes = sae.encode_scaled(x).codes
            reconstruction.update(batch, sae.denormalise(sae.decode_scaled(codes), stats))
            sparsity.update(codes)
            for name, reconstruct in baselines.items():
                errors[name].append((batch - reconstruct(batch)).square().sum(dim=1).cpu().double())
            sample.update(batch)
            bar.update(len(batch))
    metrics: dict[str, Any] = reconstruction.compute() | sparsity.compute()
    baseline_errors = {f"fvu_{name}": torch.cat(parts) for name, parts in errors.items()}
    texts = reconstruction.per_text()
    metrics |= {name: float(error.sum() / texts.variance.sum()) for name, error in baseline_errors.items()}
    metrics |= _intervals(texts, sparsity.per_text(), baseline_errors)
    metrics |= geometry(represent(sae, sample.rows()))
    silent_in_training = (sae.density.cpu() == 0) | sae.density.cpu().isnan()
    dead = silent_in_training & (sparsity.firing_counts == 0)
    curve = fvu_by_k(sae, sample.rows())
    return Evaluation(
        metrics=without_nan(metrics)
        | {
            "dead_fraction": float(dead.double().mean()),
            "split": split,
            "n_texts": reconstruction.n,
            "evaluation_seconds": round(time.perf_counter() - start, 3),
        },
        l0_counts=sparsity.l0_counts,
        density=sparsity.firing_counts.double() / reconstruction.n,
        fvu_by_k=curve,
    )


def _intervals(texts: TextSums, l0: Tensor, baseline_errors: dict[str, Tensor]) -> dict[str, list[float]]:
    """Find 95 % intervals of FVU, cosine, L0 and the FVU of baselines, from what each text contributes to the sums."""
    one = torch.ones_like(texts.error)
    sums = {"fvu": (texts.error, texts.variance), "cosine": (texts.cosine, one), "l0": (l0, one)}
    sums |= {name: (error, texts.variance) for name, error in baseline_errors.items()}
    found = ratio_intervals({name: (up.numpy(), down.numpy()) for name, (up, down) in sums.items()})
    return {f"{name}_ci95": interval for name, interval in found.items()}


def without_nan(metrics: dict[str, Any]) -> dict[str, Any]:
    """Replace what is not a finite number by None, as JSON has no word for it; an interval as a whole."""
    return {key: value if _finite(value) else None for key, value in metrics.items()}


def _finite(value: object) -> bool:
    if isinstance(value, list):
        return all(map(_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


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

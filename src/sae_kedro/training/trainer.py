"""The training loop, the same for every variant."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from sae_kedro.errors import InputError
from sae_kedro.sae.base import SAE, Progress
from sae_kedro.sae.io import save_sae
from sae_kedro.training.dead_latents import DeadLatents, aux_k_loss, window_in_samples
from sae_kedro.training.schedules import lr_factor
from sae_kedro.training.tracking import Tracker

logger = logging.getLogger(__name__)

SAMPLE_ROWS = 16_384
"""Training rows that a variant sees in `prepare`."""
CALIBRATION_BATCHES = 4
"""Batches of calibration rows that a variant sees in `calibrate`, of 8,192 rows at most."""


TIE_EVERY = 8
"""Steps between two turns of the encoder towards the decoder: each costs a pass over both."""


class EmbeddingSource(Protocol):
    """What the trainer needs of a store."""

    batch_size: int
    n_epochs: int

    def epoch(self, number: int) -> Iterator[Tensor]:
        """Yield the shuffled minibatches of one epoch."""

    def train_batches(self) -> Iterator[Tensor]:
        """Yield all training embeddings once, in a fixed order."""

    def calibration_batches(self) -> Iterator[Tensor]:
        """Yield embeddings that are neither trained on nor reported on; possibly none."""


class StepMetrics(NamedTuple):
    """What one optimiser step measured, as scalars on the device."""

    losses: dict[str, Tensor]
    """Each term as it entered the total, and `loss`, the total."""
    fvu: Tensor
    """Squared error of the batch over the variance of the training data."""
    l0: Tensor
    """Mean active latents per text."""
    n_dead: int
    """Latents that were dead before the step."""


class Trainer:
    """One optimiser step after another; knows the SAE contract and no variant.

    Args:
        sae: The SAE to train, scaled and prepared.
        cfg: Reads `lr, beta1, beta2, lr_warmup, lr_decay, encoder_tie, max_grad_norm, aux_penalty, top_k_aux,
            dead_after`.
        n_train: Training texts per epoch.
        n_steps: Steps of the whole run.
    """

    def __init__(self, sae: SAE, cfg: dict[str, Any], n_train: int, n_steps: int) -> None:
        self.sae, self.cfg, self.n_steps, self.steps_done = sae, cfg, n_steps, 0
        multipliers = sae.lr_multipliers()
        self._flat = {name: nn.Parameter(_flat(weights.detach())) for name, weights in sae.named_parameters()}
        self._clipped = [weights for name, weights in self._flat.items() if name not in multipliers]
        groups = [{"params": self._clipped, "multiplier": 1.0}]
        groups += [{"params": [self._flat[name]], "multiplier": value} for name, value in multipliers.items()]
        self.optimizer = torch.optim.Adam(groups, lr=cfg["lr"], betas=(cfg["beta1"], cfg["beta2"]), fused=True)
        window = window_in_samples(cfg["dead_after"], n_train)
        self.dead_latents = DeadLatents(sae.dict_size, window, sae.W_dec.device)
        self.firing_counts = torch.zeros(sae.dict_size, dtype=torch.long, device=sae.W_dec.device)
        """`(dict_size,)`: texts each latent fired on since the counter was last cleared."""

    def step(self, batch: Tensor) -> StepMetrics:
        """Train on one batch of embeddings `(n, act_size)`."""
        sae, cfg = self.sae, self.cfg
        x = sae.normalise(batch)[0]
        out = sae.run(x)
        fvu = (out.x_hat - x).square().sum() / x.numel()
        losses = {"rec": fvu} | sae.losses(out)
        dead = self.dead_latents.indices()
        if cfg["aux_penalty"] and len(dead) and sae.linear_encoder and "aux" not in losses:
            losses["aux"] = cfg["aux_penalty"] * aux_k_loss(sae, out, dead, cfg["top_k_aux"])
        loss = torch.stack(list(losses.values())).sum()

        rate = cfg["lr"] * lr_factor(self.steps_done, self.n_steps, cfg["lr_warmup"], cfg["lr_decay"])
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["multiplier"]
        sae.zero_grad(set_to_none=True)
        loss.backward()
        sae.project_decoder_gradient()
        for name, weights in sae.named_parameters():
            self._flat[name].grad = None if weights.grad is None else _flat(_laid_out_like(weights, weights.grad))
        _clip(self._clipped, cfg["max_grad_norm"])
        self.optimizer.step()
        sae.normalise_decoder()
        if (self.steps_done + 1) % TIE_EVERY == 0:
            sae.tie_encoder(TIE_EVERY * cfg["encoder_tie"] * rate)

        fired = out.codes.firing_counts()
        l0 = fired.sum() / len(x)
        self.firing_counts += fired
        self.dead_latents.update(fired, len(x))
        sae.after_step(Progress(self.steps_done, self.n_steps, l0))
        self.steps_done += 1
        terms = {name: value.detach() for name, value in losses.items()}
        return StepMetrics(terms | {"loss": loss.detach()}, fvu.detach(), l0, len(dead))


def train(
    sae: SAE,
    store: EmbeddingSource,
    cfg: dict[str, Any],
    folder: Path | None = None,
    tracker: Tracker | None = None,
) -> SAE:
    """Train an SAE on a store of embeddings.

    Args:
        sae: A freshly built SAE; it is changed in place.
        store: Where minibatches come from.
        cfg: The configuration that `post_init_cfg` returned.
        folder: Where checkpoints go, every `checkpoint_every` steps.
        tracker: Where metrics go; None: nowhere.

    Returns:
        The SAE, calibrated and in evaluation mode.

    Raises:
        InputError: There are no training texts, all embeddings are the same, or the loss stopped being finite.
    """
    tracker = tracker or Tracker(cfg)
    start = time.perf_counter()
    sae.to(torch.device(cfg["device"])).train()
    n_train = sae.fit_input_scaling(store.train_batches())
    if n_train < store.batch_size:
        logger.warning(
            "Only %d training texts, fewer than batch_size=%d: every step sees all of them",
            n_train,
            store.batch_size,
        )
    sample = sae.normalise(_sample_rows(store.train_batches(), n_train, cfg["seed"]))[0]
    sae.prepare(sample)
    n_steps = store.n_epochs * math.ceil(n_train / store.batch_size)
    trainer = Trainer(sae, cfg, n_train, n_steps)
    with tqdm(total=n_steps, unit=" steps", desc=f"Training {cfg['sae_type']}", smoothing=0.1) as bar:
        window, window_start = [], time.perf_counter()
        for epoch in range(store.n_epochs):
            trainer.firing_counts.zero_()
            for batch in store.epoch(epoch):
                window.append(trainer.step(batch))
                bar.update()
                if trainer.steps_done % cfg["log_every"] == 0 or trainer.steps_done == n_steps:
                    seconds = time.perf_counter() - window_start
                    row = _averaged(window) | {"samples_per_second": len(window) * store.batch_size / seconds}
                    _check_finite(row, trainer.steps_done, cfg)
                    tracker.log(
                        {
                            "step": trainer.steps_done,
                            "epoch": epoch,
                            "lr": trainer.optimizer.param_groups[0]["lr"],
                        }
                        | row
                    )
                    bar.set_postfix_str(_live(row))
                    window, window_start = [], time.perf_counter()
                if folder is not None and cfg["checkpoint_every"] and trainer.steps_done % cfg["checkpoint_every"] == 0:
                    save_sae(sae, folder / "checkpoints" / f"step-{trainer.steps_done:07d}")
    sae.density.copy_(trainer.firing_counts / n_train)
    calibration = [sae.normalise(batch)[0] for batch in islice(store.calibration_batches(), CALIBRATION_BATCHES)]
    sae.eval().calibrate(torch.cat(calibration) if calibration else sample)
    seconds = round(time.perf_counter() - start, 3)
    sae.cfg["training"] = {"n_texts": n_train, "n_steps": n_steps, "seconds": seconds}
    return sae


def _flat(weights: Tensor) -> Tensor:
    """View weights as a vector in memory order: fused Adam copies what is not contiguous, which costs as much again."""
    return weights.as_strided((weights.numel(),), (1,))


def _laid_out_like(weights: Tensor, grad: Tensor) -> Tensor:
    return grad if grad.stride() == weights.stride() else torch.empty_like(weights).copy_(grad)


def _clip(weights: list[nn.Parameter], max_norm: float) -> None:
    """Bring the common norm of gradients down to `max_norm`; on a CPU, looking first is cheaper than scaling by 1."""
    grads = [weight.grad for weight in weights if weight.grad is not None]
    norm = nn.utils.get_total_norm(grads)
    if norm.device.type != "cpu" or norm > max_norm:
        nn.utils.clip_grads_with_norm_(weights, max_norm, norm)


def _sample_rows(batches: Iterable[Tensor], n_rows: int, seed: int) -> Tensor:
    """Draw up to `SAMPLE_ROWS` of `n_rows` rows at random, in their order."""
    chosen = np.random.default_rng([seed, 2**32 - 1]).permutation(n_rows)[:SAMPLE_ROWS]
    marked = torch.zeros(n_rows, dtype=torch.bool)
    marked[torch.from_numpy(chosen)] = True
    parts, start = [], 0
    for batch in batches:
        parts.append(batch[marked[start : start + len(batch)].to(batch.device)])
        start += len(batch)
    return torch.cat(parts)


def _averaged(window: list[StepMetrics]) -> dict[str, float]:
    """Average a window of steps; a loss term counts as 0 in the steps that had none."""
    names = sorted({name for step in window for name in step.losses})
    row = {name: sum(float(step.losses.get(name, 0.0)) for step in window) / len(window) for name in names}
    row["fvu"] = sum(float(step.fvu) for step in window) / len(window)
    row["l0"] = sum(float(step.l0) for step in window) / len(window)
    row["dead"] = window[-1].n_dead
    return row


def _live(row: dict[str, float]) -> str:
    return (
        f"loss {row['loss']:.4f}, FVU {row['fvu']:.4f}, L0 {row['l0']:.1f}, dead {row['dead']:.0f}, "
        f"{row['samples_per_second']:,.0f} samples/s"
    )


def _check_finite(row: dict[str, float], step: int, cfg: dict[str, Any]) -> None:
    if not math.isfinite(row["loss"]):
        raise InputError(f"the loss is {row['loss']} at step {step}; lr={cfg['lr']:g} is probably too high")

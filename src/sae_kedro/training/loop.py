"""A whole training run: what comes before the first step, between steps, and after the last."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from sae_kedro.config import default_lr
from sae_kedro.errors import InputError
from sae_kedro.sae.base import SAE
from sae_kedro.training.checkpoint import Checkpoint, Checkpoints
from sae_kedro.training.interrupts import Interrupted, Interrupts
from sae_kedro.training.step_log import StepLog, StepMetrics
from sae_kedro.training.tracking import Tracker
from sae_kedro.training.trainer import Trainer

logger = logging.getLogger(__name__)

SAMPLE_ROWS = 16_384
"""Training rows that coordinates are found from, and that a variant sees in `prepare`."""
CALIBRATION_BATCHES = 4
"""Batches of calibration rows that a variant sees in `calibrate`, of 8,192 rows at most."""


class EmbeddingSource(Protocol):
    """What the trainer needs of a store."""

    batch_size: int
    n_epochs: int

    @property
    def data_key(self) -> str:
        """What tells one set of embeddings from another."""

    @property
    def origin(self) -> dict[str, Any]:
        """What the SAE is to say of where they come from: `dataset_path`, `model_name`, ...; None where unknown."""

    @property
    def split_by(self) -> str:
        """Whose hash decides what is held out: `text` or `vector`."""

    def epoch(self, number: int) -> Iterator[Tensor]:
        """Yield the shuffled minibatches of one epoch."""

    def train_batches(self) -> Iterator[Tensor]:
        """Yield all training embeddings once, in a fixed order."""

    def calibration_batches(self) -> Iterator[Tensor]:
        """Yield embeddings that are neither trained on nor reported on; possibly none."""


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
        folder: Checkpoints go into its folder `checkpoints`, every `checkpoint_every` steps and on Ctrl-C or SIGTERM;
            with `resume`, training goes on from the last one. None: there are none, and a signal acts as it does.
        tracker: Where metrics go; None: nowhere.

    Returns:
        The SAE, calibrated, in evaluation mode and without gradients of its weights; bit for bit the same for an
        interrupted run as for one that was not.

    Raises:
        InputError: There are no training texts, all embeddings are the same, the loss stopped being finite, or the
            checkpoint to go on from belongs to another run.
        Interrupted: A signal came; the checkpoint is written.
    """
    tracker = tracker or Tracker(cfg)
    start = time.perf_counter()
    sae.to(torch.device(cfg["device"])).train().requires_grad_()
    n_train = sae.fit_input_scaling(store.train_batches())
    if n_train < store.batch_size:
        logger.warning(
            "Only %d training texts, fewer than batch_size=%d: every step sees all of them",
            n_train,
            store.batch_size,
        )
    sample = _sample_rows(store.train_batches(), n_train, cfg["seed"])
    steps_per_epoch = math.ceil(n_train / store.batch_size)
    n_steps = store.n_epochs * steps_per_epoch
    trainer = Trainer(sae, cfg, n_train, n_steps, sample)
    log = StepLog(tracker)
    identity = {"cfg": cfg, "data": store.data_key, "n_train": n_train}
    checkpoints = Checkpoints(folder / "checkpoints" if folder is not None else None, identity)
    if cfg["resume"] and (checkpoint := checkpoints.latest()) is not None:
        trainer.load_state(checkpoint.tensors)
        log.load_state(checkpoint.notes["log"])
        start -= checkpoint.notes["seconds"]
        logger.info("Going on after step %d of %d, from %s", trainer.steps_done, n_steps, checkpoints.last)
    progress = {"total": n_steps, "initial": trainer.steps_done, "unit": " steps", "smoothing": 0.1}
    with (
        contextlib.closing(trainer),
        Interrupts(active=folder is not None) as interrupts,
        _matmul_precision(cfg["matmul_precision"]),
        tqdm(desc=f"Training {cfg['sae_type']}", **progress) as bar,
    ):
        for epoch, batch in _remaining(store, trainer.steps_done, steps_per_epoch):
            if trainer.steps_done % steps_per_epoch == 0:
                trainer.firing_counts.zero_()
            log.add(trainer.step(batch), len(batch))
            bar.update()
            step, received = trainer.steps_done, interrupts.received
            logs = step % cfg["log_every"] == 0 or step == n_steps
            keeps = bool(received or (cfg["checkpoint_every"] and step % cfg["checkpoint_every"] == 0))
            if logs or keeps:
                _check_finite(log.window, trainer, cfg, checkpoints)
            if logs:
                bar.set_postfix_str(log.write(step, epoch, trainer.lr))
            if keeps:
                notes = {"log": log.state(), "seconds": time.perf_counter() - start}
                checkpoints.save(step, Checkpoint(trainer.state(), notes))
            if received:
                raise Interrupted(
                    f"Stopped by {received.name} after step {step} of {n_steps}; the same command with resume=true "
                    f"goes on from {checkpoints.last or 'the start, for no checkpoint could be written'}",
                    received,
                )
    sae.density.copy_(trainer.firing_counts / n_train)
    calibration = list(islice(store.calibration_batches(), CALIBRATION_BATCHES)) or [sample]
    sae.eval().requires_grad_(False).calibrate(sae.normalise(torch.cat(calibration))[0])
    if tracker.history and tracker.history[-1]["fvu"] >= 1:
        logger.warning("This SAE reconstructs no better than the mean does; %s", _likely_cause(cfg))
    seconds = round(time.perf_counter() - start, 3)
    sae.cfg |= store.origin
    about = {"n_texts": n_train, "n_steps": n_steps, "seconds": seconds, "data": store.data_key}
    about["split_by"] = store.split_by
    sae.cfg["training"] = about | ({"fvu": tracker.history[-1]["fvu"]} if tracker.history else {})
    return sae


@contextlib.contextmanager
def _matmul_precision(level: str) -> Iterator[None]:
    """Multiply float32 matrices at `level`, PyTorch's setting for the process, and go back to what it was."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(level)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _remaining(store: EmbeddingSource, steps_done: int, steps_per_epoch: int) -> Iterator[tuple[int, Tensor]]:
    """Yield epoch and minibatch of every step that is left."""
    for epoch in range(steps_done // steps_per_epoch, store.n_epochs):
        skipped = max(0, steps_done - epoch * steps_per_epoch)
        yield from ((epoch, batch) for batch in islice(store.epoch(epoch), skipped, None))


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


def _check_finite(window: list[StepMetrics], trainer: Trainer, cfg: dict[str, Any], checkpoints: Checkpoints) -> None:
    """Stop at the first step whose loss is not finite, or where a weight no longer is."""
    losses = [float(metrics.losses["loss"]) for metrics in window]
    first = next((index for index, loss in enumerate(losses) if not math.isfinite(loss)), None)
    if first is None and all(bool(weights.isfinite().all()) for weights in trainer.sae.parameters()):
        return
    step = trainer.steps_done if first is None else trainer.steps_done - len(window) + 1 + first
    what = "a weight is not finite" if first is None else f"the loss is {losses[first]}"
    last = checkpoints.last
    kept = f"the last good checkpoint is {last}" if last is not None else "there is no checkpoint of this run"
    raise InputError(f"{what} at step {step} of {trainer.n_steps}; {_likely_cause(cfg)}; {kept}")


def _likely_cause(cfg: dict[str, Any]) -> str:
    usual = default_lr(cfg["batch_size"])
    if cfg["lr"] > usual:
        return f"lr={cfg['lr']:g} is probably too high (the default is {usual:g})"
    return f"lr={cfg['lr']:g} is not high, so look at aux_penalty, max_grad_norm and the options of {cfg['sae_type']}"

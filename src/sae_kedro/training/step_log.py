"""What steps measure, averaged into the rows of the history."""

from __future__ import annotations

import functools
import time
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sae_kedro.training.tracking import Tracker


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


class StepLog:
    """Averages the steps between two rows of the history; a loss term counts as 0 in the steps that had none."""

    def __init__(self, tracker: Tracker) -> None:
        self.tracker = tracker
        self.window: list[StepMetrics] = []
        self._start, self._n_texts = time.perf_counter(), 0

    def add(self, metrics: StepMetrics, n_texts: int) -> None:
        """Take in a step on a batch of `n_texts`."""
        self.window.append(metrics)
        self._n_texts += n_texts

    def write(self, step: int, epoch: int, lr: float) -> str:
        """Write a row to the tracker, and return it as a line for people."""
        window, seconds = self.window, time.perf_counter() - self._start
        names = sorted({name for metrics in window for name in metrics.losses})
        row = {name: sum(float(m.losses.get(name, 0.0)) for m in window) / len(window) for name in names}
        row["fvu"] = sum(float(metrics.fvu) for metrics in window) / len(window)
        row["l0"] = sum(float(metrics.l0) for metrics in window) / len(window)
        row |= {"dead": window[-1].n_dead, "samples_per_second": self._n_texts / seconds}
        self.tracker.log({"step": step, "epoch": epoch, "lr": lr} | row)
        self.window, self._start, self._n_texts = [], time.perf_counter(), 0
        return (
            f"loss {row['loss']:.4f}, FVU {row['fvu']:.4f}, L0 {row['l0']:.1f}, dead {row['dead']:.0f}, "
            f"{row['samples_per_second']:,.0f} samples/s"
        )

    def state(self) -> dict[str, Any]:
        """Return the history and the steps since its last row, as JSON."""
        steps = [
            [{name: float(value) for name, value in m.losses.items()}, float(m.fvu), float(m.l0), m.n_dead]
            for m in self.window
        ]
        return {"history": self.tracker.history, "window": steps}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up a history where it stopped; the tracker gets all of its rows."""
        for row in state["history"]:
            self.tracker.log(row)
        exact = functools.partial(torch.tensor, dtype=torch.float64)
        for losses, fvu, l0, n_dead in state["window"]:
            terms = {name: exact(value) for name, value in losses.items()}
            self.window.append(StepMetrics(terms, exact(fvu), exact(l0), n_dead))

"""Sparsify: TopK with a gather-based decoder and a sparse encoder gradient, schedule-free SignSGD or Adam."""

from __future__ import annotations

import contextlib
import io

import torch
from torch import Tensor

from ._common import Inference, check_variant, ramps

with contextlib.redirect_stdout(io.StringIO()):  # it prints which decoder it picked
    from schedulefree import ScheduleFreeWrapper
    from sparsify import SparseCoder, SparseCoderConfig
    from sparsify.sign_sgd import SignSGD
from transformers import get_linear_schedule_with_warmup

VARIANTS = ("topk",)


def default_lr(variant: str, dict_size: int, optimizer: str = "signum") -> float:
    """Return the library's default learning rate for `optimizer` ("signum", its default, or "adam")."""
    del variant
    return (5e-3 if optimizer == "signum" else 2e-4) / (dict_size / 2**14) ** 0.5


class Adapter(Inference):
    """Drive `SparseCoder` with the optimisation step of its `Trainer`, which itself needs a language model to hook."""

    def __init__(
        self,
        variant: str,
        *,
        act_size: int,
        dict_size: int,
        top_k: int,
        lr: float,
        batch_size: int,
        n_steps: int,
        seed: int,
        data: Tensor,
        sparsity: float | None = None,
        optimizer: str = "signum",
    ) -> None:
        """Build the coder and the optimiser.

        "signum" is schedule-free. "adam" (unfused, without bitsandbytes) warms up and then decays over the whole run,
        the only schedule that the library has for it.
        """
        del batch_size, data, sparsity
        check_variant(variant, VARIANTS)
        if optimizer not in ("signum", "adam"):
            raise ValueError(f"optimizer {optimizer!r} is neither 'signum' nor 'adam'")
        self.dict_size = dict_size
        torch.manual_seed(seed)
        self.model = SparseCoder(
            act_size, SparseCoderConfig(num_latents=dict_size, k=top_k), "cpu", dtype=torch.float32
        )
        self.scheduler = None
        if optimizer == "signum":
            self.optimizer = ScheduleFreeWrapper(SignSGD(self.model.parameters(), lr=lr), momentum=0.95)
        else:
            self.optimizer = torch.optim.Adam(self.model.parameters(), lr=lr)
            self.scheduler = get_linear_schedule_with_warmup(self.optimizer, ramps(n_steps)[0], n_steps)
        self.schedule_free = optimizer == "signum"
        self.first = True
        self.idle = torch.zeros(dict_size, dtype=torch.long)

    def step(self, x: Tensor) -> None:
        """Take one optimisation step; by default the library trains without an auxiliary loss (`auxk_alpha` 0)."""
        model = self.model
        if self.schedule_free:
            self.optimizer.train()
        if self.first:
            model.b_dec.data = x.mean(0)
            self.first = False
        model.set_decoder_norm_to_unit_norm()
        out = model(x, y=x, dead_mask=None, total_variance=(x - x.mean(0)).pow(2).sum())
        (out.fvu + out.multi_topk_fvu / 8).backward()
        model.remove_gradient_parallel_to_decoder_directions()
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.scheduler is not None:
            self.scheduler.step()
        self.idle += len(x)
        self.idle[out.latent_indices.flatten()] = 0

    def _infer(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        if self.schedule_free:
            self.optimizer.eval()  # the averaged weights, as in its checkpoints
        codes = self.model.encode(x)
        return self.model.decode(codes.top_acts, codes.top_indices), (codes.top_acts, codes.top_indices)

    def _count(self, codes: tuple[Tensor, Tensor]) -> Tensor:
        return (codes[0] != 0).sum(-1)

    def _fired(self, codes: tuple[Tensor, Tensor]) -> Tensor:
        fired = torch.zeros(self.dict_size, dtype=torch.bool)
        fired[codes[1][codes[0] != 0]] = True
        return fired

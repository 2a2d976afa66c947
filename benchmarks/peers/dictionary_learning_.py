"""dictionary_learning: TopK, BatchTopK, vanilla (L1) and JumpReLU, each through its own trainer class."""

from __future__ import annotations

from typing import Any

import torch
from dictionary_learning.trainers import BatchTopKTrainer, JumpReluTrainer, StandardTrainer, TopKTrainer
from torch import Tensor

from ._common import Inference, check_variant, ramps

VARIANTS = ("topk", "batchtopk", "vanilla", "jumprelu")


def default_lr(variant: str, dict_size: int) -> float:
    """Return the library's default learning rate; for the top-k variants it falls with the dictionary's size."""
    check_variant(variant, VARIANTS)
    fixed = {"vanilla": 1e-3, "jumprelu": 7e-5}
    return fixed.get(variant) or 2e-4 / (dict_size / 2**14) ** 0.5


class Adapter(Inference):
    """Drive a trainer's `update`, which initialises the decoder bias on step 0 for the top-k variants."""

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
        normalize: bool = False,
    ) -> None:
        """Build the trainer.

        `sparsity` is the L1 coefficient of vanilla or the weight of the squared relative miss of the target L0 of
        jumprelu (both implementations are dense: their speed does not depend on L0). `normalize` turns on the library's
        optional scaling to unit mean squared norm. Its step thresholds (1,000 and 2,000) are cut to half a short run.
        """
        check_variant(variant, VARIANTS)
        self.variant, self.dict_size, self.steps_done = variant, dict_size, 0
        self.scale = 1.0
        if normalize:  # over at most 100 batches, as there
            self.scale = data[: 100 * batch_size].pow(2).sum(1).mean().sqrt().item()
        warmup, decay = ramps(n_steps)
        common: dict[str, Any] = {
            "steps": n_steps,
            "activation_dim": act_size,
            "dict_size": dict_size,
            "layer": 0,
            "lm_name": "none",
            "lr": lr,
            "warmup_steps": warmup,
            "decay_start": n_steps - decay if decay else None,
            "seed": seed,
            "device": "cpu",
        }
        torch.manual_seed(seed)  # the JumpReLU trainer does not do it
        if variant in ("topk", "batchtopk"):
            cls = TopKTrainer if variant == "topk" else BatchTopKTrainer
            self.trainer = cls(k=top_k, threshold_start_step=min(1000, n_steps // 2), **common)
            return
        common["sparsity_warmup_steps"] = min(2000, n_steps // 2)
        if variant == "vanilla":
            self.trainer = StandardTrainer(l1_penalty=0.1 if sparsity is None else sparsity, **common)
        else:
            penalty = 1.0 if sparsity is None else sparsity
            self.trainer = JumpReluTrainer(sparsity_penalty=penalty, target_l0=float(top_k), **common)

    def step(self, x: Tensor) -> None:
        """Take one optimisation step."""
        self.trainer.update(self.steps_done, x / self.scale if self.scale != 1.0 else x)
        self.steps_done += 1

    def _infer(self, x: Tensor) -> tuple[Tensor, Tensor]:
        # BatchTopK applies its learned threshold here, the others the activation they were trained with.
        x_hat, codes = self.trainer.ae(x / self.scale if self.scale != 1.0 else x, output_features=True)
        return (x_hat * self.scale if self.scale != 1.0 else x_hat), codes

    def directions(self) -> Tensor:
        """Return the decoder directions `(dict_size, act_size)`."""
        return self.trainer.ae.decoder.weight.t()

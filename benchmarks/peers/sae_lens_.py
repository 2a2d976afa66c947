"""SAELens: TopK, BatchTopK, vanilla ("standard", L1) and JumpReLU through its `SAETrainer`."""

from __future__ import annotations

import contextlib
import copy
import io
import itertools
import tempfile
from typing import Any

import torch
from sae_lens import (
    SAE,
    BatchTopKTrainingSAE,
    BatchTopKTrainingSAEConfig,
    JumpReLUTrainingSAE,
    JumpReLUTrainingSAEConfig,
    StandardTrainingSAE,
    StandardTrainingSAEConfig,
    TopKTrainingSAE,
    TopKTrainingSAEConfig,
)
from sae_lens.config import SAETrainerConfig
from sae_lens.training.sae_trainer import SAETrainer
from torch import Tensor

from ._common import Inference, check_variant, ramps

VARIANTS = ("topk", "batchtopk", "vanilla", "jumprelu")


def default_lr(variant: str, dict_size: int) -> float:
    """Return the library's default learning rate (one for every variant and size)."""
    del variant, dict_size
    return 3e-4


class Adapter(Inference):
    """Drive `SAETrainer.step`; infer with the inference SAE that the library derives from the trained one."""

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
        """Build SAE and trainer.

        `sparsity` is the L1 (vanilla) or L0 (jumprelu) coefficient; both implementations are dense: their speed does
        not depend on L0. The default coefficient of 1 suits activations of norm sqrt(act_size): vanilla dies with it
        on unit-norm embeddings. `normalize` turns on the library's optional scaling to a mean norm of sqrt(act_size).
        Its sparse-tensor activations for topk, off by default as well, are left out: their backward pass does not run
        on a CPU together with the default rescaling by decoder norms.
        """
        check_variant(variant, VARIANTS)
        self.dict_size = dict_size
        common: dict[str, Any] = {
            "d_in": act_size,
            "d_sae": dict_size,
            "normalize_activations": "expected_average_only_in" if normalize else "none",
        }
        penalty = 1.0 if sparsity is None else sparsity
        torch.manual_seed(seed)
        if variant == "topk":
            sae = TopKTrainingSAE(TopKTrainingSAEConfig(k=top_k, **common))
        elif variant == "batchtopk":
            sae = BatchTopKTrainingSAE(BatchTopKTrainingSAEConfig(k=top_k, **common))
        elif variant == "vanilla":
            sae = StandardTrainingSAE(StandardTrainingSAEConfig(l1_coefficient=penalty, **common))
        else:
            sae = JumpReLUTrainingSAE(JumpReLUTrainingSAEConfig(l0_coefficient=penalty, **common))
        warmup, decay = ramps(n_steps)
        cfg = SAETrainerConfig(
            total_training_samples=n_steps * batch_size,
            train_batch_size_samples=batch_size,
            lr=lr,
            lr_end=lr / 10,  # unused by the constant schedule, but it must be set
            lr_warm_up_steps=warmup,
            lr_decay_steps=decay,
            device="cpu",
        )
        batches = data.split(batch_size)
        self.trainer = SAETrainer(cfg, sae, data_provider=itertools.cycle(batches))
        if normalize:
            with contextlib.redirect_stderr(io.StringIO()):  # a progress bar
                self.trainer.activation_scaler.estimate_scaling_factor(
                    act_size, self.trainer.data_provider, min(len(batches), cfg.n_batches_for_norm_estimate)
                )
        self.inference: SAE | None = None

    def step(self, x: Tensor) -> None:
        """Take one optimisation step."""
        self.inference = None
        self.trainer.step(x)
        self.trainer.n_training_steps += 1

    def export(self) -> SAE:
        """Return the inference SAE: scaling and decoder norms folded in, BatchTopK turned into a JumpReLU."""
        sae = copy.deepcopy(self.trainer.sae)
        factor = self.trainer.activation_scaler.scaling_factor
        if factor is not None:
            sae.fold_activation_norm_scaling_factor(factor)
        with tempfile.TemporaryDirectory() as folder:
            sae.save_inference_model(folder)
            return SAE.load_from_disk(folder)

    def _infer(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if self.inference is None:
            self.inference = self.export()
        codes = self.inference.encode(x)
        return self.inference.decode(codes), codes

    def directions(self) -> Tensor:
        """Return the decoder directions `(dict_size, act_size)`."""
        return self.trainer.sae.W_dec

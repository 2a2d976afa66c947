"""What is measured here: this library behind the interface of `peers`, and the floors that no method gets below."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sae_kedro import get_experiment_cfg, post_init_cfg, sae_classes
from sae_kedro.training.trainer import Trainer

VARIANTS = ("topk", "batchtopk", "vanilla", "jumprelu")


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
        self.sae = sae_classes[variant](cfg).to(device).train()
        n_train = self.sae.fit_input_scaling(data.to(device).split(8192))
        self.sae.prepare(self.sae.normalise(data[:16_384].to(device))[0])
        self.trainer = Trainer(self.sae, cfg, n_train, n_steps)
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

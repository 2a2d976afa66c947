"""Keys of an SAE, of its training and of how that is tracked."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, field_validator

from sae_kedro.errors import shown
from sae_kedro.validation import Incidental, Table


class Keys(Table):
    """The SAE, its training, the run."""

    sae_type: str = Field("topk", description="SAE variant: vanilla, topk, batchtopk, jumprelu, or a plugin's name")
    dict_size: int = Field(3072, ge=1, description="number of latents in the dictionary")
    top_k: int = Field(32, ge=1, description="active latents per text: exact for topk, mean for batchtopk, target else")
    input_unit_norm: bool = Field(False, description="standardise every embedding by its own mean and deviation first")
    aux_penalty: float = Field(1 / 32, ge=0, description="weight of AuxK, the loss that revives dead latents; 0: off")
    top_k_aux: int | None = Field(None, ge=1, description="dead latents per text used by AuxK; null: act_size / 2")
    dead_after: float = Field(0.5, gt=0, le=1e6, description="a latent is dead after this many epochs without firing")

    batch_size: int = Field(512, ge=1, description="embeddings per training step")
    n_epochs: int = Field(10, ge=1, description="passes over the training texts")
    lr: float | None = Field(
        None,
        gt=0,
        description="peak rate of encoders; decoders learn at 2, biases at 5 times it, directions more in short runs; "
        "null: from batch_size",
    )
    encoder_tie: float | None = Field(
        None,
        ge=0,
        description="pull of encoders towards their decoders, per step and rate; null: 2, more in short runs",
    )
    beta1: float = Field(0.5, ge=0, lt=1, description="Adam's decay of the first moment")
    beta2: float = Field(0.99, ge=0, lt=1, description="Adam's decay of the second moment")
    max_grad_norm: float = Field(
        1.0, gt=0, description="gradients are clipped to this common norm, unless the variant sets a rate for them"
    )
    matmul_precision: Literal["highest", "high", "medium"] = Field(
        "highest",
        description="products in training; highest: float32, high: TF32, medium: bfloat16, where the hardware has them",
    )
    lr_warmup: float = Field(0.05, ge=0, le=1, description="share of steps with linearly rising learning rate")
    lr_decay: float = Field(0.2, ge=0, le=1, description="share of steps, at the end, with rate falling linearly to 0")
    seed: int = Field(0, ge=0, description="seed of initial weights and data order")

    checkpoint_every: Incidental[int | None] = Field(
        None, ge=1, description="steps between checkpoints; null: none but the one that an interrupted run leaves"
    )
    resume: Incidental[bool] = Field(False, description="go on from the last checkpoint, or start where there is none")
    log_every: Incidental[int] = Field(20, ge=1, description="steps between rows of the metric history")
    wandb_project: Incidental[str | None] = Field(
        None, min_length=1, description="Weights & Biases project; null: none, unless wandb_mode asks for one"
    )
    wandb_mode: Incidental[Literal["auto", "online", "offline", "disabled"]] = Field(
        "auto", description="auto: where wandb_project is set, online if credentials exist, else offline"
    )
    name: Incidental[str | None] = Field(
        None, description="name of the run and of its folders; null: folders are named after sae_type"
    )

    @field_validator("name")
    @classmethod
    def _as_folders_allow(cls, value: str | None) -> str | None:
        """Refuse what is no plain name of a folder."""
        if value is not None and (not re.fullmatch(r"\w[\w.+-]{0,79}", value, re.ASCII) or value == "compare"):
            raise ValueError(
                f"name={shown(value)} is not allowed: at most 80 letters, digits, dots, hyphens and underscores, and "
                "not 'compare', where comparisons are"
            )
        return value

    @field_validator("wandb_project")
    @classmethod
    def _as_wandb_allows(cls, value: str | None) -> str | None:
        """Refuse what W&B refuses, before anything is trained."""
        if value is None:
            return None
        if len(value) > 128 or any(letter in "/\\#?%:" for letter in value):
            raise ValueError(
                f"wandb_project={shown(value)} is not allowed: at most 128 characters, none of / \\ # ? % :"
            )
        return value

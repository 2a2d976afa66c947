"""The contract every variant fulfils, and what they share.

A variant says which entries of the pre-activations may be active (`select`), what their codes are (`activate`), and,
where it needs to, extra losses and what happens before, between and after training steps. Everything else, the
sparse gradients included, is here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import torch
from scipy import sparse
from torch import Tensor, nn

from sae_kedro.errors import InputError, shown
from sae_kedro.keys import ExperimentConfig
from sae_kedro.sae import ops
from sae_kedro.sae.codes import Codes, Support
from sae_kedro.sae.contract import Array, Encoding, Forward, Progress, SAEOptions, SAEOutput
from sae_kedro.sae.scaling import InputScaling
from sae_kedro.sae.screening import Int8Product, chunk_rows
from sae_kedro.validation import check_model


class SAE(InputScaling):
    """A sparse autoencoder over embeddings.

    Args:
        cfg: The configuration dictionary; reads `act_size`, `dict_size`, `top_k`, `input_unit_norm`, `seed` and the
            variant's own options.

    Attributes:
        W_enc: `(act_size, dict_size)`, stored latent-major so that its sparse gradient needs no transposition.
        b_enc: `(dict_size,)`.
        W_dec: `(dict_size, act_size)`, rows of unit norm: the decoder directions.
        b_dec: `(act_size,)`.
        density: `(dict_size,)`, share of the last epoch's texts on which each latent fired; NaN before training.
    """

    summary: ClassVar[str] = ""
    """One line for lists of variants."""
    formula: ClassVar[str] = ""
    """How codes follow from pre-activations."""
    paper: ClassVar[str] = ""
    """arXiv id of the source."""
    unit_norm_decoder: ClassVar[bool] = True
    """Whether decoder rows are kept at unit norm."""
    linear_encoder: ClassVar[bool] = True
    """Whether there are `W_enc` and `b_enc`; a variant without them defines `encode_scaled`."""
    signed: ClassVar[bool] = False
    """Whether codes may be negative."""

    Options: ClassVar[type[SAEOptions]] = SAEOptions
    """The variant's own keys."""

    density: Tensor

    def __init__(self, cfg: dict[str, Any]) -> None:
        for key in ("act_size", "dict_size", "top_k"):
            if type(cfg.get(key)) is not int or cfg[key] < 1:
                raise InputError(f"{key}={shown(cfg.get(key))} must be a whole number of at least 1 to build an SAE")
        core = check_model(ExperimentConfig, {key: cfg[key] for key in ("input_unit_norm", "seed") if key in cfg})
        super().__init__(int(cfg["act_size"]), bool(core["input_unit_norm"]))
        self.cfg, self.dict_size = dict(cfg), int(cfg["dict_size"])
        self.top_k = min(int(cfg["top_k"]), self.dict_size)
        own = {key: cfg[key] for key in self.Options.model_fields if cfg.get(key) is not None}
        self.options = self.Options(**check_model(self.Options, own))
        generator = torch.Generator().manual_seed(core["seed"])
        rows = torch.randn(self.dict_size, self.act_size, generator=generator)
        rows /= rows.norm(dim=1, keepdim=True)
        self.W_dec = nn.Parameter(rows)
        if self.linear_encoder:
            self.W_enc = nn.Parameter(rows.clone().t())
            self.b_enc = nn.Parameter(torch.zeros(self.dict_size))
        self.b_dec = nn.Parameter(torch.zeros(self.act_size))
        self.register_buffer("density", torch.full((self.dict_size,), torch.nan))
        self._pre_acts_buffer = torch.empty(0)

    # ── What a variant defines ────────────────────────────────────────────────────────────────────────────────────

    def select(self, pre_acts: Tensor) -> Support:
        """Choose the entries of `pre_acts (n, dict_size)` that may be active or receive a gradient."""
        raise NotImplementedError(f"{type(self).__name__} must define select()")

    def screen(self, product: Int8Product) -> tuple[Support, Tensor] | None:
        """Choose like `select`, in training, from a product that is faster than all pre-activations in float32.

        Returns:
            The support and the exact pre-activations there; None (the default) to be asked by `select`. A subclass
            that overrides `select` alone goes back to the default.
        """
        del product
        return None

    def activate(self, values: Tensor, cols: Tensor | slice) -> Tensor:
        """Turn selected pre-activations into codes, elementwise and differentiably.

        Args:
            values: `(nnz,)`, or `(n, dict_size)` when the support is dense.
            cols: Indexes a per-latent tensor so that it broadcasts with `values`.
        """
        del cols
        return values.relu()

    def losses(self, out: Forward) -> dict[str, Tensor]:
        """Return extra loss terms by name; one called `rec` takes the place of the reconstruction loss."""
        del out
        return {}

    def prepare(self, x: Tensor) -> None:
        """Set up from a sample of scaled training rows `(n, act_size)`, before the first step."""

    def after_step(self, progress: Progress) -> None:
        """Clamp, project or update buffers after an optimiser step; decoder rows are already at unit norm."""

    def calibrate(self, x: Tensor) -> None:
        """Set what inference needs from a sample of scaled rows `(n, act_size)` not trained on, after the last step."""

    def lr_multipliers(self) -> dict[str, float]:
        """Learning-rate factor by parameter name; a parameter named here is left out of gradient clipping."""
        return {}

    # ── What every variant shares ─────────────────────────────────────────────────────────────────────────────────

    def forward(self, x: Tensor) -> SAEOutput:
        """Encode and reconstruct embeddings `(n, act_size)`."""
        scaled, stats = self.normalise(x)
        out = self.run(scaled)
        return SAEOutput(self.denormalise(out.x_hat, stats), out.codes.to_dense())

    def encode(self, x: Tensor) -> Tensor:
        """Return the codes `(n, dict_size)` of embeddings `(n, act_size)`."""
        return self.encode_scaled(self.normalise(x)[0]).codes.to_dense()

    @torch.no_grad()
    def transform(self, x: Array, batch_size: int = 8192) -> sparse.csr_array:
        """Return the codes of embeddings `(n, act_size)` as a SciPy CSR array `(n, dict_size)`, `batch_size` at a time.

        Raises:
            InputError: `x` has another shape.
        """
        x = x if isinstance(x, Tensor) else np.asarray(x)
        if x.ndim != 2 or x.shape[1] != self.act_size:
            raise InputError(f"transform needs embeddings (n, {self.act_size}), not texts; these are {tuple(x.shape)}")
        blocks = [sparse.csr_array((0, self.dict_size), dtype=np.float32)]
        for start in range(0, len(x), batch_size):
            block = x[start : start + batch_size]
            rows = block if isinstance(block, Tensor) else torch.from_numpy(np.array(block, dtype=np.float32))
            blocks.append(self.encode_scaled(self.normalise(rows.to(self.W_dec))[0]).codes.to_csr())
        codes = sparse.vstack(blocks, format="csr")
        codes.sort_indices()
        return codes

    def decode(self, codes: Tensor, like: Tensor | None = None) -> Tensor:
        """Reconstruct embeddings `(n, act_size)` from dense codes `(n, dict_size)`.

        Args:
            codes: Codes as `encode` returns them, edited or not.
            like: The embeddings the codes came from; needed when the SAE was trained with `input_unit_norm`, because
                each text's mean and deviation are not in the codes.

        Raises:
            InputError: `like` is missing where it is needed.
        """
        if self.input_unit_norm and like is None:
            raise InputError("this SAE has input_unit_norm=True; call decode(codes, like=x) with the embeddings")
        stats = self.normalise(like)[1] if like is not None else None
        return self.denormalise(self.decode_scaled(Codes(Support.dense(codes), codes)), stats)

    def extra_repr(self) -> str:
        """Show the sizes when the SAE is printed."""
        return f"act_size={self.act_size}, dict_size={self.dict_size}, top_k={self.top_k}"

    def run(self, x: Tensor) -> Forward:
        """Encode and reconstruct scaled rows `(n, act_size)`, keeping what losses need."""
        encoding = self.encode_scaled(x)
        return Forward(x, encoding.codes, encoding.pre_values, self.decode_scaled(encoding.codes))

    def encode_scaled(self, x: Tensor) -> Encoding:
        """Encode scaled rows `(n, act_size)`; override it for encoders that are not linear plus an activation."""
        support, values = self._screened(x) or self._selected(x)
        values = ops.with_encoder_gradient(x, (self.W_enc, self.b_enc, self.b_dec), values, support)
        return Encoding(Codes(support, support.clip(self.activate(values, support.cols))), values)

    def decode_scaled(self, codes: Codes) -> Tensor:
        """Reconstruct scaled rows `(n, act_size)` from codes."""
        return ops.decode(codes, self.W_dec) + self.b_dec

    def latent_pre_acts(self, x: Tensor, latents: Tensor) -> Tensor:
        """Return the pre-activations `(n, len(latents))` of a few latents, differentiable."""
        return (x - self.b_dec) @ self.W_enc[:, latents] + self.b_enc[latents]

    @torch.no_grad()
    def project_decoder_gradient(self) -> None:
        """Remove the part of the decoder's gradient along each decoder direction."""
        grad = self.W_dec.grad
        if self.unit_norm_decoder and grad is not None:
            along = torch.bmm(grad.unsqueeze(1), self.W_dec.unsqueeze(2)).squeeze(2)
            grad.addcmul_(self.W_dec, along, value=-1)

    @torch.no_grad()
    def normalise_decoder(self) -> None:
        """Bring decoder rows back to unit norm: Adam's step leaves the sphere even for a projected gradient."""
        if self.unit_norm_decoder:
            self.W_dec.div_(self.W_dec.norm(dim=1, keepdim=True).clamp_min(1e-8))

    @torch.no_grad()
    def tie_encoder(self, rate: float, matched: Tensor) -> None:
        """Turn encoder directions a share `rate` of the way towards those that suit their decoder directions.

        On a finite corpus the encoder of a latent that fires rarely learns single texts by heart, or drifts away from
        all of them. What it should look for follows from the decoder direction, which stays put: `(S + I)^-1 d`, the
        matched filter for `d` among embeddings of covariance `S` (benchmarks/RECIPE.md: held-out FVU .186 without,
        .180 tied to `d` itself, .178 with it). Lengths stay.

        Args:
            rate: From 0, which changes nothing, to 1.
            matched: `(act_size, act_size)`, `(S + I)^-1`.
        """
        if self.linear_encoder and rate:
            wanted = self.W_dec @ matched
            wanted *= (self.W_enc.norm(dim=0) / wanted.norm(dim=1).clamp_min(1e-8)).unsqueeze(1)
            self.W_enc.t().lerp_(wanted, min(1.0, rate))

    @torch.no_grad()
    def turn(self, rotation: Tensor) -> None:
        """Express the weights in other coordinates of scaled space: `x @ rotation` takes the place of `x`.

        A variant with parameters of its own over `act_size` extends this.

        Args:
            rotation: `(act_size, act_size)`, orthogonal.
        """
        self.W_dec.copy_(self.W_dec @ rotation)
        self.b_dec.copy_(self.b_dec @ rotation)
        if self.linear_encoder:
            self.W_enc.copy_(rotation.t() @ self.W_enc)

    @torch.no_grad()
    def pre_acts_by_chunk(self, x: Tensor, rows: int = 1024) -> Iterator[Tensor]:
        """Yield the pre-activations of a sample in chunks `(rows, dict_size)`, for `prepare` and `calibrate`."""
        for chunk in x.split(rows):
            yield self._linear(chunk)

    @torch.no_grad()
    def sparse_start_levels(self, x: Tensor) -> Tensor:
        """Return the levels `(dict_size,)` that each latent's pre-activation exceeds on `top_k / dict_size` of rows.

        A level is the middle between the last value above and the first below, so that `>` finds all of the share.
        """
        n_above = max(1, round(len(x) * self.top_k / self.dict_size))
        n_looked_at = min(n_above + 1, len(x))
        levels = [
            self.latent_pre_acts(x, latents).t().contiguous().topk(n_looked_at, dim=1).values[:, n_above - 1 :].mean(1)
            for latents in torch.arange(self.dict_size, device=x.device).split(256)
        ]
        return torch.cat(levels)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "select" in cls.__dict__ and "screen" not in cls.__dict__:
            cls.screen = SAE.screen  # type: ignore[method-assign]

    def _selected(self, x: Tensor) -> tuple[Support, Tensor]:
        pre_acts = self._linear(x)
        support = self.select(pre_acts)
        values = support.gather(pre_acts)
        return support, values.clone() if values is pre_acts else values  # the next pass overwrites `pre_acts`

    @torch.no_grad()
    def _screened(self, x: Tensor) -> tuple[Support, Tensor] | None:
        if not self.training or type(self).screen is SAE.screen or not Int8Product.pays(x, self.W_enc):
            return None
        return self.screen(
            Int8Product(x - self.b_dec, self.W_enc, self.b_enc, self._workspace(x[: chunk_rows(self.dict_size)]))
        )

    @torch.no_grad()
    def _linear(self, x: Tensor) -> Tensor:
        """Compute `(x - b_dec) @ W_enc + b_enc`, in training into memory that the next call overwrites."""
        centred = x - self.b_dec
        if not self.training:
            return ops.steady_product(centred, self.W_enc) + self.b_enc
        return torch.addmm(self.b_enc, centred, self.W_enc, out=self._workspace(x))

    def _workspace(self, x: Tensor) -> Tensor:
        """Return memory `(len(x), dict_size)` of the type of `x`, the same from step to step.

        A fresh tensor of that size costs half as much as the product in page faults (measured at 4096 x 6144).
        """
        size, old = len(x) * self.dict_size, self._pre_acts_buffer
        if old.numel() < size or (old.dtype, old.device) != (x.dtype, x.device):
            self._pre_acts_buffer = x.new_empty(size)
        return self._pre_acts_buffer[:size].view(len(x), self.dict_size)

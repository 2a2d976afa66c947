"""One optimiser step after another, the same for every variant."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sae_kedro.sae.base import SAE
from sae_kedro.sae.contract import Progress
from sae_kedro.training.coordinates import Coordinates
from sae_kedro.training.dead_latents import DeadLatents, aux_k_loss, window_in_samples
from sae_kedro.training.schedules import lr_factor, short_run_factor
from sae_kedro.training.step_log import StepMetrics

TIE_EVERY = 8
"""Steps between two turns of the encoder towards the decoder: each costs a pass over both."""
RATES = {"W_dec": 2.0, "b_enc": 5.0, "b_dec": 5.0}
"""Learning rate by parameter, over `lr`, where a variant has none of its own (benchmarks/RECIPE.md)."""
LEAST_TIE = 2.0
"""Pull of encoder directions per step and learning rate, where the configuration leaves it open."""
WHOLE_TIE = 8.0
"""The same, summed over a run, for runs too short to get as much from `LEAST_TIE` (benchmarks/RECIPE.md)."""
MOST_TIE = 1 / 12
"""The most of it: two thirds of the way at a turn, or biases cannot follow within the few steps that there are."""


class Trainer:
    """One optimiser step after another; knows the SAE contract and no variant.

    Until `close` is called, the SAE's weights are expressed in the coordinates of training.

    Args:
        sae: The SAE to train, its input scaling fitted.
        cfg: Reads `lr, beta1, beta2, lr_warmup, lr_decay, encoder_tie, max_grad_norm, aux_penalty, top_k_aux,
            dead_after`.
        n_train: Training texts per epoch.
        n_steps: Steps of the whole run.
        sample: Embeddings `(n, act_size)` to find coordinates from and to prepare the SAE with; None: it is prepared
            already, and its coordinates stay.
    """

    def __init__(self, sae: SAE, cfg: dict[str, Any], n_train: int, n_steps: int, sample: Tensor | None = None) -> None:
        self.sae, self.cfg, self.n_steps, self.steps_done, self.lr = sae, cfg, n_steps, 0, 0.0
        if sample is None:
            self.coordinates = Coordinates.plain(sae.W_dec.detach())
        else:
            scaled = sae.normalise(sample)[0]
            self.coordinates = Coordinates.of(scaled, n_train)
            sae.turn(self.coordinates.rotation)
            sae.prepare(scaled @ self.coordinates.rotation)
        self._pull = _encoder_pull(cfg, n_steps)
        own_rates = sae.lr_multipliers()
        self._flat = {name: nn.Parameter(_flat(weights.detach())) for name, weights in sae.named_parameters()}
        self._clipped = [weights for name, weights in self._flat.items() if name not in own_rates]
        rates, faster = RATES | own_rates, short_run_factor(n_steps)
        groups = [
            {"params": [self._flat[name]], "multiplier": rates.get(name, 1.0) * (faster if weights.ndim > 1 else 1.0)}
            for name, weights in sae.named_parameters()
        ]
        self.optimizer = torch.optim.Adam(groups, lr=cfg["lr"], betas=(cfg["beta1"], cfg["beta2"]), fused=True)
        window = window_in_samples(cfg["dead_after"], n_train)
        self.dead_latents = DeadLatents(sae.dict_size, window, sae.W_dec.device)
        self.firing_counts = torch.zeros(sae.dict_size, dtype=torch.long, device=sae.W_dec.device)
        """`(dict_size,)`: texts each latent fired on since the counter was last cleared."""

    def state(self) -> dict[str, Tensor]:
        """Return all that later steps depend on: weights, buffers, moments, counters and random states, by name."""
        state = {f"sae.{name}": value for name, value in self.sae.state_dict().items()}
        for name, weights in self._flat.items():
            for key, moment in self.optimizer.state[weights].items():
                state[f"adam.{name}.{key}"] = moment
        state |= {"silent_for": self.dead_latents.silent_for, "firing_counts": self.firing_counts}
        state |= {f"coordinates.{name}": part for name, part in self.coordinates._asdict().items()}
        state |= {"steps_done": torch.tensor(self.steps_done), "random": torch.get_rng_state()}
        if self.firing_counts.is_cuda:
            state["random_cuda"] = torch.cuda.get_rng_state(self.firing_counts.device)
        return state

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Go back to a state that `state` returned."""
        device, prefix = self.firing_counts.device, "sae."
        self.sae.load_state_dict({name.removeprefix(prefix): state[name] for name in state if name.startswith(prefix)})
        for name, weights in self._flat.items():
            keys = [key for key in state if key.startswith(f"adam.{name}.")]
            self.optimizer.state[weights] = {key.rpartition(".")[2]: state[key].to(device) for key in keys}
        self.coordinates = Coordinates(*(state[f"coordinates.{name}"].to(device) for name in Coordinates._fields))
        self.dead_latents.silent_for.copy_(state["silent_for"])
        self.firing_counts.copy_(state["firing_counts"])
        self.steps_done = int(state["steps_done"])
        torch.set_rng_state(state["random"])
        if "random_cuda" in state:
            torch.cuda.set_rng_state(state["random_cuda"], device)

    def close(self) -> None:
        """Bring the SAE's weights back to the coordinates of the embeddings."""
        self.sae.turn(self.coordinates.rotation.t())

    def step(self, batch: Tensor) -> StepMetrics:
        """Train on one batch of embeddings `(n, act_size)`."""
        sae, cfg = self.sae, self.cfg
        x = sae.normalise(batch)[0] @ self.coordinates.rotation
        out = sae.run(x)
        fvu = (out.x_hat - x).square().sum() / x.numel()
        losses = {"rec": fvu} | sae.losses(out)
        dead = self.dead_latents.indices()
        if cfg["aux_penalty"] and len(dead) and sae.linear_encoder and "aux" not in losses:
            losses["aux"] = cfg["aux_penalty"] * aux_k_loss(sae, out, dead, cfg["top_k_aux"])
        loss = torch.stack(list(losses.values())).sum()

        factor = lr_factor(self.steps_done, self.n_steps, cfg["lr_warmup"], cfg["lr_decay"])
        self.lr = cfg["lr"] * factor
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr * group["multiplier"]
        sae.zero_grad(set_to_none=True)
        loss.backward()
        sae.project_decoder_gradient()
        for name, weights in sae.named_parameters():
            self._flat[name].grad = None if weights.grad is None else _flat(_laid_out_like(weights, weights.grad))
        _clip(self._clipped, cfg["max_grad_norm"])
        self.optimizer.step()
        sae.normalise_decoder()
        if (self.steps_done + 1) % TIE_EVERY == 0:
            sae.tie_encoder(TIE_EVERY * self._pull * factor, self.coordinates.matched)

        fired = out.codes.firing_counts()
        l0 = fired.sum() / len(x)
        self.firing_counts += fired
        self.dead_latents.update(fired, len(x))
        sae.after_step(Progress(self.steps_done, self.n_steps, l0, dead))
        self.steps_done += 1
        terms = {name: value.detach() for name, value in losses.items()}
        return StepMetrics(terms | {"loss": loss.detach()}, fvu.detach(), l0, len(dead))


def _encoder_pull(cfg: dict[str, Any], n_steps: int) -> float:
    """Return the share of the way that encoder directions turn per step, at the peak learning rate."""
    lr: float = cfg["lr"]
    if cfg["encoder_tie"] is not None:
        return float(cfg["encoder_tie"]) * lr
    least = LEAST_TIE * lr
    mean_factor: float = max(0.25, 1 - (cfg["lr_warmup"] + cfg["lr_decay"]) / 2)
    return max(least, min(MOST_TIE, WHOLE_TIE / (mean_factor * n_steps)))


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

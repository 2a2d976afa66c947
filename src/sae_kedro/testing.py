"""`check_sae`: the contract of a variant, as tests that its author runs in one line."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sae_kedro.config import get_experiment_cfg, post_init_cfg
from sae_kedro.sae.base import SAE
from sae_kedro.sae.io import CFG_FILE, WEIGHTS_FILE, load_sae, save_sae
from sae_kedro.sae.registry import sae_classes
from sae_kedro.training.loop import train
from sae_kedro.training.trainer import Trainer

ACT_SIZE, DICT_SIZE, TOP_K, N_FEATURES = 24, 96, 4, 40
_NAME = "checked-by-check-sae"


class ContractError(AssertionError):
    """A variant breaks a rule of the contract; the message names the rule and what it wants."""


def check_sae(cls: type[SAE], **options: Any) -> None:
    """Check that a variant fulfils the contract.

    Trains the variant on synthetic data made of known features and looks at everything the trainer, the evaluation,
    saving and users rely on. A variant may define `dense_loss(x) -> scalar`, its whole training loss written plainly
    in dense operations; gradients are then compared with its autograd gradients in float64.

    Args:
        cls: A subclass of `SAE`.
        options: Values of the variant's own keys; defaults otherwise.

    Raises:
        ContractError: A rule is broken.
    """
    _want(isinstance(cls, type) and issubclass(cls, SAE), "subclass", f"{cls!r} is a subclass of sae_kedro.sae.SAE")
    with sae_classes.registered(_NAME, cls):
        for check in (_check_description, _check_construction, _check_state, _check_gradients, _check_alive):
            check(cls, _cfg(options))
        trained = _check_training(cls, _cfg(options))
        for check_trained in (_check_codes, _check_batches, _check_turn, _check_saving, _check_moves):
            check_trained(trained)


def _want(condition: bool, rule: str, promise: str) -> None:
    if not condition:
        raise ContractError(f"rule {rule!r} is broken: the contract wants that {promise}")


def _cfg(options: dict[str, Any], **more: Any) -> dict[str, Any]:
    sizes = {"act_size": ACT_SIZE, "dict_size": DICT_SIZE, "top_k": TOP_K}
    run = {"batch_size": 128, "n_epochs": 15, "device": "cpu", "wandb_mode": "disabled", "lr": 5e-3}
    return post_init_cfg(get_experiment_cfg(sae_type=_NAME, **sizes, **run, **options, **more))


def _features() -> Tensor:
    generator = torch.Generator().manual_seed(7)
    return torch.nn.functional.normalize(torch.randn(N_FEATURES, ACT_SIZE, generator=generator), dim=1)


def _data(n: int, seed: int) -> Tensor:
    """Rows in which each of `N_FEATURES` known features is active with probability 3 / N_FEATURES."""
    generator = torch.Generator().manual_seed(seed)
    active = torch.rand(n, N_FEATURES, generator=generator) < 3 / N_FEATURES
    strength = 0.5 + torch.rand(n, N_FEATURES, generator=generator)
    noise = 0.02 * torch.randn(n, ACT_SIZE, generator=generator)
    return (active * strength) @ _features() + noise + 0.2


class _Store:
    """Synthetic embeddings behind the interface that the trainer reads."""

    data_key, origin, split_by = "synthetic", {"dataset_path": None, "model_name": None}, "vector"

    def __init__(self, cfg: dict[str, Any]) -> None:
        self.batch_size, self.n_epochs, self._data = int(cfg["batch_size"]), int(cfg["n_epochs"]), _data(4096, seed=1)

    def epoch(self, number: int) -> Iterator[Tensor]:
        order = torch.randperm(len(self._data), generator=torch.Generator().manual_seed(number))
        yield from self._data[order].split(self.batch_size)

    def train_batches(self) -> Iterator[Tensor]:
        yield self._data

    def calibration_batches(self) -> Iterator[Tensor]:
        yield _data(2048, seed=2)


def _prepared(cls: type[SAE], cfg: dict[str, Any]) -> tuple[SAE, Tensor]:
    sae, x = cls(cfg).train(), _data(2048, seed=1)
    sae.fit_input_scaling([x])
    scaled = sae.normalise(x)[0]
    sae.prepare(scaled)
    return sae, scaled


def _loss(sae: SAE, x: Tensor) -> Tensor:
    out = sae.run(x)
    terms = {"rec": (out.x_hat - x).square().sum() / x.numel()} | sae.losses(out)
    return torch.stack(list(terms.values())).sum()


def _check_description(cls: type[SAE], cfg: dict[str, Any]) -> None:
    del cfg
    for name in ("summary", "formula", "paper"):
        _want(bool(getattr(cls, name, "")), "description", f"{cls.__name__}.{name} says something")
    for key, field in cls.Options.model_fields.items():
        _want(bool(field.description), "options", f"option {key!r} has a description")
        _want(not field.is_required(), "options", f"option {key!r} has a default")


def _check_construction(cls: type[SAE], cfg: dict[str, Any]) -> None:
    state = torch.get_rng_state()
    one, same, other = cls(cfg), cls(cfg), cls(cfg | {"seed": 1})
    _want(torch.equal(torch.get_rng_state(), state), "seed", "construction leaves torch's global random state alone")
    _want(_equal(one, same), "seed", "equal seeds give equal initial weights")
    _want(not _equal(one, other), "seed", "different seeds give different initial weights")


def _check_state(cls: type[SAE], cfg: dict[str, Any]) -> None:
    sae, x = _prepared(cls, cfg)
    before = copy.deepcopy(sae.state_dict())
    out = sae.run(x)
    _want(out.x_hat.shape == x.shape and out.x_hat.dtype == x.dtype, "shapes", "x_hat has the shape and dtype of x")
    _want(out.codes.to_dense().shape == (len(x), DICT_SIZE), "shapes", "codes are (n, dict_size)")
    unchanged = all(
        torch.equal(value.nan_to_num(), before[name].nan_to_num()) for name, value in sae.state_dict().items()
    )
    _want(unchanged, "state", "a forward pass changes no parameter and no buffer")


def _check_gradients(cls: type[SAE], cfg: dict[str, Any]) -> None:
    sae, x = _prepared(cls, cfg)
    _loss(sae, x).backward()
    for name, weights in sae.named_parameters():
        _want(weights.grad is not None, "gradients", f"parameter {name!r} takes part in the loss")
        assert weights.grad is not None
        _want(bool(weights.grad.isfinite().all()), "gradients", f"the gradient of {name!r} is finite")
        _want(bool(weights.grad.abs().max() > 0), "gradients", f"the gradient of {name!r} is not zero everywhere")
    reference: Callable[[Tensor], Tensor] | None = getattr(sae, "dense_loss", None)
    if reference is None:
        return
    sae, x = sae.double(), x[:200].double()
    found: list[tuple[str, Tensor]] = []
    expected: list[tuple[str, Tensor]] = []
    for loss, gradients in ((_loss, found), (lambda sae, x: sae.dense_loss(x), expected)):
        sae.zero_grad()
        loss(sae, x).backward()
        gradients += [
            (name, weights.grad.clone()) for name, weights in sae.named_parameters() if weights.grad is not None
        ]
    for (name, gradient), (_, wanted) in zip(found, expected, strict=True):
        close = torch.allclose(gradient, wanted, rtol=1e-6, atol=1e-10)
        _want(close, "gradients", f"the gradient of {name!r} equals that of dense_loss (float64)")


def _check_alive(cls: type[SAE], cfg: dict[str, Any]) -> None:
    sae, x = _prepared(cls, cfg)
    fired = int((sae.run(x).codes.firing_counts() > 0).sum())
    _want(fired > DICT_SIZE / 2, "alive", f"most latents fire at the start; {fired} of {DICT_SIZE} do on {len(x)} rows")


def _check_training(cls: type[SAE], cfg: dict[str, Any]) -> SAE:
    def short() -> SAE:
        sae, _ = _prepared(cls, cfg)
        trainer = Trainer(sae, cfg, n_train=1024, n_steps=10)
        for batch in _data(1024, seed=1).split(128):
            trainer.step(batch)
        return sae

    _want(_equal(short(), short()), "determinism", "two runs with one seed give equal weights, bit for bit")
    untrained, x = _prepared(cls, cfg)
    with torch.no_grad():
        first = float((untrained.run(x).x_hat - x).square().mean())
    sae = train(cls(cfg), _Store(cfg), cfg)
    with torch.no_grad():
        x = sae.normalise(_data(2048, seed=3))[0]
        last = float((sae.run(x).x_hat - x).square().mean())
    _want(
        last < 0.7 * first and last < 0.5,
        "learning",
        f"training lowers the reconstruction error on sparse data; FVU went from {first:.3f} to {last:.3f}",
    )
    cosine = (_features() @ torch.nn.functional.normalize(sae.W_dec.detach(), dim=1).t()).amax(dim=1).mean()
    promise = (
        f"known features are found; their mean cosine with the nearest decoder direction is {cosine:.2f}, not 0.75"
    )
    _want(float(cosine) > 0.75, "recovery", promise)
    return sae


def _check_codes(sae: SAE) -> None:
    with torch.no_grad():
        codes = sae.encode(_data(2048, seed=3))
    _want(bool(codes.isfinite().all()), "codes", "codes are finite")
    l0 = float((codes != 0).sum(dim=1).double().mean())
    promise = f"mean L0 on new data is top_k={TOP_K} within 15 %; it is {l0:.2f}"
    _want(abs(l0 - TOP_K) <= 0.15 * TOP_K, "l0", promise)
    if sae.signed:
        _want(
            bool((codes < 0).any() and (codes > 0).any()), "sign", "a variant with signed=True has codes of both signs"
        )
    else:
        _want(bool((codes >= 0).all()), "sign", "codes are never negative unless the class says signed=True")


def _check_batches(sae: SAE) -> None:
    x = _data(300, seed=4)
    together = sae.encode(x)
    alone = torch.cat([sae.encode(row[None]) for row in x[:50]])
    same = torch.allclose(alone, together[:50], atol=1e-6) and torch.allclose(
        sae.encode(x.flip(0)).flip(0), together, atol=1e-6
    )
    _want(same, "batch", "at inference the codes of a text do not depend on the other texts of its batch")
    decoded = sae.decode(together, like=x)
    _want(torch.allclose(decoded, sae(x).x_hat, atol=1e-4), "decode", "decode(encode(x)) equals the forward pass")


def _check_turn(sae: SAE) -> None:
    sae = copy.deepcopy(sae).double()
    x = sae.normalise(_data(300, seed=7).double())[0]
    rotation = torch.linalg.qr(torch.randn(ACT_SIZE, ACT_SIZE, generator=torch.Generator().manual_seed(8)))[0].double()
    with torch.no_grad():
        before = sae.run(x)
        sae.turn(rotation)
        after = sae.run(x @ rotation)
    same = torch.allclose(after.codes.to_dense(), before.codes.to_dense(), atol=1e-4) and torch.allclose(
        after.x_hat, before.x_hat @ rotation, atol=1e-4
    )
    _want(same, "turn", "turn(rotation) turns every parameter over act_size, so that codes stay as they are")


def _check_saving(sae: SAE) -> None:
    x = _data(100, seed=5)
    with tempfile.TemporaryDirectory() as folder:
        save_sae(sae, folder)
        files = sorted(file.name for file in Path(folder).iterdir())
        _want(files == [CFG_FILE, WEIGHTS_FILE], "saving", f"only {CFG_FILE} and {WEIGHTS_FILE} are written, no pickle")
        again = load_sae(folder)
    _want(type(again) is type(sae), "saving", "a saved model loads as the same class")
    same = torch.equal(again.encode(x), sae.encode(x)) and torch.equal(again(x).x_hat, sae(x).x_hat)
    _want(
        same, "saving", "codes and reconstructions are the same after save and load: what inference needs is a buffer"
    )


def _check_moves(sae: SAE) -> None:
    x = _data(50, seed=6)
    moved = copy.deepcopy(sae).to("meta")
    left = [name for name, value in vars(moved).items() if isinstance(value, Tensor) and name != "_pre_acts_buffer"]
    _want(
        not left, "device", f"every tensor is a parameter or a buffer, so that it moves with the model; not so: {left}"
    )
    with torch.no_grad():
        difference = (copy.deepcopy(sae).double().encode(x.double()).float() - sae.encode(x)).abs()
    _want(difference.median().item() < 1e-4, "device", "the model also runs in float64")
    if torch.cuda.is_available():
        moved = copy.deepcopy(sae).cuda()
        _want(moved.encode(x.cuda()).device.type == "cuda", "device", "the model runs on a GPU")


def _equal(one: SAE, other: SAE) -> bool:
    pairs = zip(one.state_dict().items(), other.state_dict().items(), strict=True)
    return all(a == b and torch.equal(x.nan_to_num(), y.nan_to_num()) for (a, x), (b, y) in pairs)

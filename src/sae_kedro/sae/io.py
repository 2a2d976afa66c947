"""A saved SAE: a folder with `cfg.json` and `sae_weights.safetensors`, and nothing that runs code.

`cfg.json` holds the SHA-256 digests of both: of the weights file, and of its own other keys. What was damaged, or
belongs to another save, is refused. An SAE that was saved without digests is loaded after all other checks.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from sae_kedro.errors import InputError, shown
from sae_kedro.machine import available_memory, in_words, resolve_device
from sae_kedro.sae.base import SAE
from sae_kedro.sae.registry import sae_classes

CFG_FILE, WEIGHTS_FILE = "cfg.json", "sae_weights.safetensors"
DIGESTS = "sha256"
"""The key of the digests: `{"cfg": ..., "weights": ...}`."""
LARGEST_JSON = 2**20
"""Bytes of the largest file of JSON that is read."""
HALVES = (torch.float16, torch.bfloat16)
"""What float32 holds without a change of value."""


def save_sae(sae: SAE, path: str | Path) -> None:
    """Write an SAE to a folder; each file appears whole or not at all.

    Both are complete before the first takes its place. Whoever is stopped between the two leaves new weights beside
    the old `cfg.json`, whose digest tells.

    Raises:
        InputError: `sae.cfg` holds something that JSON cannot.
    """
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    weights = _serialised(sae)
    provider = sae_classes.providers().get(str(sae.cfg.get("sae_type")), [None])[0]
    origin = {"sae_provider": {"distribution": provider.distribution, "version": provider.version}} if provider else {}
    try:
        cfg = json.loads(json.dumps(sae.cfg | origin))
        digest = _cfg_digest(cfg)
    except (TypeError, ValueError) as error:
        raise InputError(f"the cfg of this SAE cannot be saved as JSON: {error}") from error
    digests = {"cfg": digest, "weights": hashlib.sha256(weights).hexdigest()}
    contents = {WEIGHTS_FILE: weights, CFG_FILE: (json.dumps(cfg | {DIGESTS: digests}, indent=2) + "\n").encode()}
    for name, content in contents.items():
        (folder / f"{name}.tmp").write_bytes(content)
    for name in contents:
        (folder / f"{name}.tmp").replace(folder / name)


def weights_digest(sae: SAE) -> str:
    """Return a hash of all weights, that of the file in which they are saved."""
    return hashlib.sha256(_serialised(sae)).hexdigest()


def _serialised(sae: SAE) -> bytes:
    written: bytes = save({name: tensor.detach().cpu().contiguous() for name, tensor in sae.state_dict().items()})
    return written


def load_sae(path: str | Path, device: str = "cpu") -> SAE:
    """Load an SAE of the variant that was saved, ready for inference. Nothing is unpickled.

    Its weights ask for no gradient, so codes are plain tensors; gradients with respect to embeddings still work.

    Args:
        path: A folder written by `save_sae`, such as `data/06_models/topk`. One without digests, as earlier versions
            wrote it, is loaded, too; a changed bit in it is found only where it makes a value impossible.
        device: Where to put it; `auto` takes a GPU where there is one.

    Raises:
        InputError: The folder is not a saved SAE, its variant is not installed, its files are damaged or do not
            fit together, or there is no such device.
    """
    folder = Path(path)
    cfg, digest = _read_cfg(folder)
    cls, file = _variant(cfg, folder), folder / WEIGHTS_FILE
    try:
        _check_file(file, digest)
        with safe_open(file, framework="pt") as stored:
            shapes = {name: tuple(stored.get_slice(name).get_shape()) for name in stored.keys()}  # noqa: SIM118
            _check_shapes({"W_dec": (cfg.get("dict_size"), cfg.get("act_size"))}, shapes)  # before it is built
            sae = _built(cls, cfg, folder)
            new = sae.state_dict()
            _check_shapes({name: tuple(tensor.shape) for name, tensor in new.items()}, shapes, exactly=True)
            tensors = {name: stored.get_tensor(name) for name in new}
        for name, tensor in tensors.items():
            _check_values(name, tensor, new[name])
    except (_Misfit, SafetensorError, OSError) as error:
        raise InputError(f"{file} does not fit {CFG_FILE}: {' '.join(str(error).split())}") from error
    sae.load_state_dict(tensors)
    return sae.to(resolve_device(device)).eval().requires_grad_(False)


def read_json(file: Path) -> Any:
    """Read a small file of strict JSON: UTF-8, no key twice in an object.

    Raises:
        InputError: It is something else.
    """
    try:
        if (size := file.stat().st_size) > LARGEST_JSON:
            raise ValueError(f"{size} bytes are more than the {LARGEST_JSON} of the largest one")
        return json.loads(file.read_bytes().decode(), object_pairs_hook=_without_doubles)
    except RecursionError:
        raise InputError(f"{file} is not valid JSON: it is nested too deeply") from None
    except ValueError as error:
        raise InputError(f"{file} is not valid JSON: {error}") from error
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}") from error


class _Misfit(Exception):
    """What keeps weights from being those of the configuration."""


def _read_cfg(folder: Path) -> tuple[dict[str, Any], str | None]:
    """Return the configuration, and the digest of the weights if there are digests."""
    file = folder / CFG_FILE
    if not os.path.isfile(file):  # Path.is_file raises where a parent may not be read
        raise InputError(f"{folder} is not a saved SAE: it has no {CFG_FILE}")
    cfg = read_json(file)
    if not isinstance(cfg, dict):
        raise InputError(f"{file} does not name a sae_type")
    digests = cfg.pop(DIGESTS, None)
    try:
        found = _cfg_digest(cfg)
    except ValueError as error:
        raise InputError(f"{file} is not valid JSON: {error}") from error
    if digests is not None and not (isinstance(digests, dict) and digests.get("cfg") == found):
        raise InputError(
            f"{file} was changed after it was saved; restore it, or remove its key {DIGESTS!r} to load it as it is"
        )
    if not isinstance(cfg.get("sae_type"), str):
        raise InputError(f"{file} does not name a sae_type")
    if not isinstance(cfg.get("training", {}), dict):
        raise InputError(f"{file} does not describe an SAE: training={shown(cfg['training'])} must be an object")
    return cfg, None if digests is None else str(digests.get("weights"))


def _cfg_digest(cfg: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(cfg, sort_keys=True, allow_nan=False).encode()).hexdigest()


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for key, value in pairs:
        if key in content:
            raise ValueError(f"the key {shown(key)} occurs twice")
        content[key] = value
    return content


def _variant(cfg: dict[str, Any], folder: Path) -> type[SAE]:
    sae_type, provider = cfg["sae_type"], cfg.get("sae_provider")
    if sae_type in sae_classes:
        return sae_classes[sae_type]
    known = provider if isinstance(provider, dict) else {}
    owner = _word(known.get("distribution")) or _word(f"sae-kedro-{sae_type}") or "PLUGIN"
    raise InputError(
        f"{folder} holds an SAE of type {shown(sae_type)}, which is not installed; run `pip install {owner}` "
        f"(it was saved with version {_word(known.get('version')) or 'unknown'})"
    )


def _word(value: object) -> str | None:
    """Let nothing into a command that is more than the name of a package or a version."""
    return value if isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9][\w.+-]{0,60}", value, re.ASCII) else None


def _built(cls: type[SAE], cfg: dict[str, Any], folder: Path) -> SAE:
    try:
        return cls(cfg)
    except InputError as error:
        raise InputError(f"{folder / CFG_FILE} does not describe an SAE: {error}") from error


def _check_file(file: Path, digest: str | None) -> None:
    if not os.path.isfile(file):
        raise _Misfit("there is no such file")
    available, needed = available_memory(), 2 * file.stat().st_size
    if available is not None and needed > available:
        raise _Misfit(f"it needs {in_words(needed)} of memory, and {in_words(available)} are available")
    if digest is not None and digest != _file_digest(file):
        raise _Misfit("it is damaged, or belongs to another save, one that was stopped halfway perhaps")


def _file_digest(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while chunk := stream.read(2**20):
            digest.update(chunk)
    return digest.hexdigest()


def _check_shapes(
    wanted: dict[str, tuple[Any, ...]], stored: dict[str, tuple[int, ...]], exactly: bool = False
) -> None:
    for name, shape in wanted.items():
        if name not in stored:
            raise _Misfit(f"it lacks {name}")
        if stored[name] != shape:
            raise _Misfit(f"{name} has the shape {shown(stored[name])}, not {shown(shape)}")
    if exactly and (others := sorted(stored.keys() - wanted.keys())):
        raise _Misfit(f"it holds {shown(others)}, of which this variant knows nothing")


def _check_values(name: str, tensor: Tensor, new: Tensor) -> None:
    """Compare with the tensor of a new SAE: what is NaN there is not set before the end of training."""
    if tensor.dtype != new.dtype and not (new.dtype == torch.float32 and tensor.dtype in HALVES):
        raise _Misfit(f"{name} is stored as {tensor.dtype}, not as {new.dtype}")
    if tensor.isinf().any() or (tensor.isnan().any() and not new.isnan().any()):
        raise _Misfit(f"{name} holds numbers that are not finite")

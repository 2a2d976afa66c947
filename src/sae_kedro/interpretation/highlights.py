"""Which words of a text switch a latent on: exact where the model's embedding is the mean of its tokens' vectors."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from sae_kedro.corpora.base import clean_text
from sae_kedro.errors import InputError
from sae_kedro.sae.base import SAE
from sae_kedro.sae.scaling import STANDARDISE_EPS

_WORD = re.compile(r"\w")


class Highlights(NamedTuple):
    """The pre-activations of some latents on a text, by word: `values.sum(axis=0) + frame + constant` is the whole."""

    latents: list[int]
    words: list[str]
    values: NDArray[np.float64]
    """`(n_words, n_latents)`."""
    frame: NDArray[np.float64]
    """`(n_latents,)`: of what is not the text, such as the tokens that start and end it, and of a prompt."""
    constant: NDArray[np.float64]
    """`(n_latents,)`: what the latents have whatever the text is."""
    truncated: bool
    """Whether the model reads the beginning of the text only."""

    def of(self, latent: int) -> NDArray[np.float64]:
        """Return what each word adds to a latent: `(n_words,)`."""
        return self.values[:, self.latents.index(latent)]

    def pairs(self, latent: int) -> list[tuple[str, float]]:
        """List each word with what it adds to a latent."""
        return list(zip(self.words, self.of(latent).tolist(), strict=True))

    def top(self, latent: int, n: int) -> list[str]:
        """List up to `n` words that speak for a latent more than for the others here, in the order of the text."""
        values = self.of(latent) - self.values.mean(axis=1)
        order = [i for i in np.argsort(-values, kind="stable").tolist() if _WORD.search(self.words[i])]
        return [self.words[i] for i in sorted(order[:n]) if self.of(latent)[i] > 0]


def highlight(sae: SAE, text: str, latents: list[int], model: Any) -> Highlights:
    """Split the pre-activations of latents on a text among its words.

    The embedding is the mean of token vectors, but for its length, and a pre-activation is affine in the embedding. So
    each token has a part of it, and the parts of a word's tokens add up. Token vectors know their context: what a word
    says here it says at its place.

    Args:
        sae: An SAE with a linear encoder.
        text: A text.
        latents: Which latents.
        model: The SentenceTransformer that encodes texts for the SAE.

    Raises:
        InputError: The model does not pool by the mean, or the SAE's encoder is not linear.
    """
    if not sae.linear_encoder:
        raise InputError(f"{type(sae).__name__} has no encoder matrix, so its codes do not split by word")
    _check_mean(model)
    text = clean_text(text)
    tokens, spans, truncated = _tokenised(sae, model, text)
    with torch.inference_mode():
        parts = model[0]({key: value.to(model.device) for key, value in tokens.items()})["token_embeddings"][0]
    vectors = parts.double().cpu().numpy()
    pooled = vectors.mean(axis=0)
    length = np.linalg.norm(pooled) if any(type(module).__name__ == "Normalize" for module in model) else 1.0
    vectors /= len(vectors) * max(length, 1e-12)
    by_token, constant = _pre_acts(sae, vectors[:, : sae.act_size], latents)
    owners = {span: [i for i, each in enumerate(spans) if each == span] for span in dict.fromkeys(spans)}
    frame = by_token[owners.pop(None, [])].sum(axis=0)
    words = [text[span[0] : span[1]] for span in owners if span]
    values = np.array([by_token[places].sum(axis=0) for places in owners.values()]).reshape(-1, len(latents))
    return Highlights(latents, words, values, frame, constant, truncated)


def _pre_acts(sae: SAE, vectors: NDArray[Any], latents: list[int]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return what each of the vectors adds to the pre-activations, and what these have without any."""
    W, b = sae.W_enc[:, latents].detach().double().cpu().numpy(), sae.b_enc[latents].detach().double().cpu().numpy()
    scale, spread = float(sae.scale), 1.0
    if sae.input_unit_norm:  # the mean of a text is linear in its vectors, its deviation is one number
        spread = vectors.sum(axis=0).std(ddof=1) + STANDARDISE_EPS
        vectors = vectors - vectors.mean(axis=1, keepdims=True)
    base = (sae.mean.double() / scale + sae.b_dec.detach().double()).cpu().numpy()
    return vectors @ W / (scale * spread), b - base @ W


def _check_mean(model: Any) -> None:
    modules = list(model) if isinstance(model, torch.nn.Sequential) else []
    kinds = [type(module).__name__ for module in modules]
    if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        raise InputError("words are told exactly where a model is a transformer and a mean, and this one is not")
    if modules[1].pooling_mode != "mean" or not modules[1].include_prompt:
        raise InputError(
            f"words are told exactly where a model pools by mean, and this one by {modules[1].pooling_mode}"
            f"{'' if modules[1].include_prompt else ' without its prompt'}"
        )
    if not model.tokenizer.is_fast:
        raise InputError("words are told where a tokenizer says which token is of which word, and this one does not")


def _tokenised(sae: SAE, model: Any, text: str) -> tuple[dict[str, torch.Tensor], list[tuple[int, int] | None], bool]:
    """Return the model's input, the place of each token's word in the text, and whether the text goes on after it."""
    prompt = (model.prompts or {}).get(model.default_prompt_name or "", "")
    limits = [limit for limit in (sae.cfg.get("max_seq_length"), model.max_seq_length) if limit and limit < 1 << 30]
    given = {"truncation": bool(limits), "max_length": min(limits, default=None)}
    tokens = model.tokenizer(prompt + text, **given)
    first = tokens.encodings[0]
    spans: list[tuple[int, int] | None] = []
    for word in first.word_ids:
        start, end = first.word_to_chars(word) if word is not None else (0, 0)
        spans.append((start - len(prompt), end - len(prompt)) if start >= len(prompt) and end > start else None)
    inputs = {key: torch.tensor([tokens[key]]) for key in model.tokenizer.model_input_names if key in tokens}
    return inputs, spans, bool(first.overflowing)

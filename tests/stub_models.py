"""Models for what no real model shows: a million texts in seconds, vectors that are not finite, a counted call."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np

from sae_kedro.activations.encoder import TextEncoder


class HashModel:
    """An object with `.encode` and no weights: the bytes of a text's hash are its embedding."""

    def __init__(self, act_size: int = 16) -> None:
        self.act_size = act_size

    def encode(self, texts):
        digests = b"".join(blake2b(text.encode(), digest_size=self.act_size).digest() for text in texts)
        return np.frombuffer(digests, np.uint8).reshape(-1, self.act_size) / np.float32(255)


class NotFiniteModel(HashModel):
    """Gives NaN or infinity for texts that ask for it."""

    def encode(self, texts):
        vectors = super().encode(texts)
        vectors[[number for number, text in enumerate(texts) if "NaN" in text], 3] = np.nan
        vectors[[number for number, text in enumerate(texts) if "infinity" in text], 5] = -np.inf
        return vectors


class CountingEncoder(TextEncoder):
    """A TextEncoder that notes every text it encodes, and fails when it is to encode more than `fail_after`."""

    fail_after = float("inf")

    def __init__(self, cfg, model) -> None:
        super().__init__(cfg, model)
        self.encoded: list[str] = []

    def encode(self, texts, on_progress=None, tokens=None):
        if len(self.encoded) + len(texts) > self.fail_after:
            raise KeyboardInterrupt
        self.encoded += texts
        return super().encode(texts, on_progress, tokens)

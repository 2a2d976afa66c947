"""A small corpus that means harm: what is in its texts must be shown, and never run."""

from __future__ import annotations

import base64
import gzip
from functools import cache
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from scipy import sparse

from sae_kedro.explorer.build import Explorer
from sae_kedro.interpretation.features import Features
from sae_kedro.interpretation.interpret import interpret
from sae_kedro.sae.topk import TopKSAE

TOPICS = [
    ["qubit", "entangled", "decoherence"],
    ["galaxy", "redshift", "quasar"],
    ["protein", "folding", "enzyme"],
    ["auction", "bidder", "equilibrium"],
]
HOSTILE = [
    "<script>window.canary = 1</script> qubit",
    "</script><script>window.canary = 2</script><!-- galaxy",
    '<img src=x onerror="window.canary = 3"> protein',
    "مرحبا بالعالم qubit هذا نص من اليمين إلى اليسار",
    "量子コンピュータと銀河 🪐👩‍🚀 auction",
    "a lone \ud800 surrogate and a \x00 in a text about a galaxy",
    "qubit " * 1_700_000,  # 10 MB
    "=HYPERLINK(1) protein",
]
METRICS = {"sae_type": "topk", "fvu": 0.25, "fvu_pca": 0.5, "fvu_ci95": [0.2, 0.3], "l0": 3.0}
EVIL = "</script><script>window.canary = 4</script>"


class Small(NamedTuple):
    sae: TopKSAE
    codes: sparse.csr_array
    texts: list[str]
    vectors: np.ndarray
    features: Features
    contrast: pd.DataFrame

    def explorer(self, **changes) -> Explorer:
        given = {"metrics": METRICS} | self._asdict() | changes
        return Explorer(**given)


@cache
def small() -> Small:
    generator = np.random.default_rng(0)
    n, size, width = 240, 16, 12
    topic = generator.integers(0, 4, n)
    texts = [" ".join([*generator.permutation(TOPICS[t])[:2], "the", f"n{row}"]) for row, t in enumerate(topic)]
    texts[: len(HOSTILE)] = HOSTILE
    sae = TopKSAE({"act_size": size, "dict_size": width, "top_k": 3, "sae_type": "topk", "seed": 0})
    sae.cfg |= {"name": EVIL, "dataset_path": EVIL}
    directions = sae.W_dec.detach().numpy()
    vectors = 2 * directions[topic] + directions[4 + topic] + 0.2 * generator.normal(size=(n, size))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    sae.fit_input_scaling([torch.from_numpy(vectors)])
    codes = sae.transform(vectors)
    features = interpret(sae, codes, [text[:1000] for text in texts], vectors)
    features.table.loc[3, "label"] = EVIL
    rows = {
        "group": ["a", "a", "b"], "latent": [0, 1, 2], "label": ["x", "y", "z"], "keywords": ["x", "y", "z"],
        "n_a": 50, "n_b": 70, "rate_a": [0.5, 0.1, 0.2], "rate_b": [0.1, 0.2, 0.3], "odds_ratio": [9.0, 0.5, np.nan],
        "or_lo": [4.0, 0.2, np.nan], "or_hi": [20.0, 0.9, np.nan], "z": [6.0, -2.0, 0.1], "q": [1e-9, 0.04, 0.9],
        "confirmed": [True, True, False], "warning": [None, "length", None],
    }  # fmt: skip
    return Small(sae, codes, texts, vectors, features, pd.DataFrame(rows))


@cache
def small_page() -> str:
    return small().explorer().page()


def inflated(text: str) -> bytes:
    return gzip.decompress(base64.b64decode(text))

"""An SAE of embeddings in memory, in one call. A plain library: no Kedro, and nothing is written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sae_kedro.activations.store import ActivationsStoreSBERT
from sae_kedro.config import get_experiment_cfg, post_init_cfg
from sae_kedro.sae.base import SAE
from sae_kedro.sae.contract import Array
from sae_kedro.sae.registry import sae_classes
from sae_kedro.training.feasibility import check_trainable
from sae_kedro.training.loop import train


def fit(x: Array, texts: Sequence[str] | None = None, model_name: str | None = None, **keys: Any) -> SAE:
    """Train an SAE on embeddings.

    Args:
        x: `(n, act_size)`: an array or tensor of float16, bfloat16, float32 or float64, or a NumPy memory map.
        texts: The text of each row, which then decides what is held out; None: its vector does.
        model_name: What made the embeddings, to be remembered with the SAE; None: unknown.
        keys: Keys of the configuration, such as `sae_type`, `dict_size` and `top_k`. All embeddings are used, unless
            `num_examples` says otherwise.

    Returns:
        The SAE, trained; `transform` gives the codes of embeddings.

    Raises:
        InputError: Whatever is wrong with keys or embeddings, in one sentence.
    """
    cfg = get_experiment_cfg(**({"num_examples": None} | keys))
    store = ActivationsStoreSBERT.from_embeddings(x, cfg, texts, model_name)
    cfg = post_init_cfg(cfg | {"act_size": store.act_size})
    check_trainable(cfg)
    return train(sae_classes[cfg["sae_type"]](cfg), store, cfg)

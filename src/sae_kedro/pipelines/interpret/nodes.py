"""Nodes that say what latents stand for. Heavy libraries load inside them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sae_kedro.config import run_folder

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sae_kedro.activations.store import ActivationsStoreSBERT
    from sae_kedro.interpretation.features import Features
    from sae_kedro.sae.base import SAE

N_SHOWN = 10
"""Latents that are shown at the end of a run."""


def interpret_latents(cfg: dict[str, Any], sae: SAE, activations_store: ActivationsStoreSBERT) -> Features:
    """Label every latent from the texts of the corpus, and score labels on texts that made none."""
    import numpy as np
    from scipy import sparse

    from sae_kedro.interpretation.codes import encode_corpus
    from sae_kedro.interpretation.interpret import interpret
    from sae_kedro.interpretation.llm.client import language_model
    from sae_kedro.interpretation.llm.labelling import label_with_llm

    store = activations_store
    blocks = list(encode_corpus(sae.to(store.device), store))
    texts = [text or "" for block in blocks for text in block.texts]
    codes = sparse.vstack([block.codes for block in blocks], format="csr")
    vectors = np.concatenate([store.cache.read(index).vectors.numpy() for index in store.cache.iter_shards()])
    encode = None
    if store.origin["model_name"] is not None:
        encoder = store.cache.encoder.for_texts()

        def encode(words: list[str]) -> NDArray[np.float32]:
            return encoder.encode(words).numpy()

    features = interpret(sae, codes, texts, vectors, encode)
    if (model := language_model(cfg)) is None:
        return features
    limits = {"n_latents": cfg["llm_latents"], "n_texts": cfg["llm_texts"], "token_limit": cfg["llm_token_limit"]}
    return label_with_llm(features, sae, codes, texts, vectors, model, answers_file(cfg), **limits)


def answers_file(cfg: dict[str, Any]) -> Path:
    """Return where answers of a language model are kept."""
    return Path(cfg["data_root"], "08_reporting", run_folder(cfg), "llm_answers.jsonl")


def show_features(features: Features) -> str:
    """List the latents whose labels hold best on texts that made none."""
    named = features.table.dropna(subset="label")
    frequent = named[named["n_texts"] >= named["n_texts"].median()]  # of a few texts any label may hold
    table: Any = frequent.nlargest(N_SHOWN, "label_auroc")
    lines = [
        f"{row.latent:>6}  {row.label_auroc:.2f}  {row.label}: {row.keywords or '-'}" for row in table.itertuples()
    ]
    told = features.summary
    head = f"{told['n_labelled']:,} of {len(features.table):,} latents have a label"
    if told["label_auroc"] is not None:
        head += f"; on texts that made none, AUROC {told['label_auroc']:.3f}, a wrong label {told['floor_auroc']:.3f}"
    if (llm := told.get("llm")) is not None:
        head += f"\n{llm['n_labelled']:,} of the labels are by {llm['model']}"
        if llm["label_auroc"] is not None:
            head += f", AUROC {llm['label_auroc']:.3f}; keywords of the same latents {llm['keywords_auroc']:.3f}"
    return "\n".join([head, *lines]) + "\n"

"""Nodes that say what latents stand for. Heavy libraries load inside them."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sae_kedro.config import run_folder
from sae_kedro.pipelines.train.nodes import model_folder

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from sae_kedro.activations.store import ActivationsStoreSBERT
    from sae_kedro.interpretation.codes import Coded
    from sae_kedro.interpretation.features import Features
    from sae_kedro.sae.base import SAE

logger = logging.getLogger(__name__)

N_SHOWN = 10
"""Latents that are shown at the end of a run."""


def code_corpus(sae: SAE, activations_store: ActivationsStoreSBERT) -> Coded:
    """Encode the corpus with the SAE, once for labels and for the explorer."""
    from sae_kedro.interpretation.codes import coded_corpus

    return coded_corpus(sae.to(activations_store.device), activations_store)


def interpret_latents(
    cfg: dict[str, Any], sae: SAE, activations_store: ActivationsStoreSBERT, coded: Coded
) -> Features:
    """Label every latent from the texts of the corpus, and score labels on texts that made none."""
    return _interpreted(cfg, sae, activations_store, coded, texts_needed=True)


def interpret_trained(
    cfg: dict[str, Any], sae: SAE, activations_store: ActivationsStoreSBERT, coded: Coded
) -> Features:
    """The same for an SAE that was just trained; where there are too few texts, latents have no labels."""
    return _interpreted(cfg, sae, activations_store, coded, texts_needed=False)


def _interpreted(
    cfg: dict[str, Any], sae: SAE, store: ActivationsStoreSBERT, coded: Coded, texts_needed: bool
) -> Features:
    from sae_kedro.corpora.opening import brings_embeddings
    from sae_kedro.evaluation.measures.stability import load_other_seed
    from sae_kedro.explorer.atlas import with_places
    from sae_kedro.interpretation.interpret import FEWEST_TEXTS, interpret
    from sae_kedro.interpretation.llm.client import language_model
    from sae_kedro.interpretation.llm.labelling import label_with_llm
    from sae_kedro.interpretation.own_labels import read_own_labels, with_own_labels
    from sae_kedro.pipelines.planned_run import CORPUS_KEYS

    codes, vectors = coded.codes, coded.vectors
    texts: list[str] | None = [text for text in coded.texts if text is not None]
    if texts is not None and len(texts) < FEWEST_TEXTS and not texts_needed:
        logger.warning("Latents get no labels: those need %d texts, and there are %d", FEWEST_TEXTS, len(texts))
        texts = None
    encode = None
    if not brings_embeddings(cfg):  # without a model, words are where their texts are
        encoder = store.cache.encoder.for_texts()

        def encode(words: list[str]) -> NDArray[np.float32]:
            return encoder.encode(words).numpy()

    other = load_other_seed(cfg) if cfg["stability_path"] is not None else None
    features = interpret(sae, codes, texts, vectors, encode, other_seed=other)
    if texts is not None and (model := language_model(cfg)) is not None:
        limits = {"n_latents": cfg["llm_latents"], "n_texts": cfg["llm_texts"], "token_limit": cfg["llm_token_limit"]}
        features = label_with_llm(features, sae, codes, texts, vectors, model, answers_file(cfg), **limits)
    features = with_own_labels(features, read_own_labels(own_labels_file(cfg), features.digest))
    features = with_places(features, sae)
    features.summary["corpus"] = {key: cfg[key] for key in (*CORPUS_KEYS, "num_examples")}
    return features


def answers_file(cfg: dict[str, Any]) -> Path:
    """Return where answers of a language model are kept."""
    return _reports(cfg) / "llm_answers.jsonl"


def map_texts(coded: Coded, features: Features) -> pd.DataFrame:
    """Put texts where their features are."""
    from sae_kedro.explorer.atlas import text_map

    return text_map(features, coded.codes, coded.texts)


def draw_explorer(cfg: dict[str, Any], sae: SAE, coded: Coded, features: Features) -> str:
    """Make the explorer, with what was measured of this SAE and of groups of texts since it was saved.

    That is no input of the node, so that it may be missing, and so that another evaluation needs no features.
    """
    import pandas as pd

    from sae_kedro.explorer.build import page

    texts = [text or "" for text in coded.texts] if any(coded.texts) else None
    measured, contrast = _of_this_sae(cfg, "metrics.json"), _of_this_sae(cfg, "contrast.csv")
    return page(
        sae,
        features,
        coded.codes,
        texts,
        coded.vectors,
        json.loads(measured.read_text()) if measured else None,
        pd.read_csv(contrast, dtype={"group": str}) if contrast else None,
    )


def _of_this_sae(cfg: dict[str, Any], name: str) -> Path | None:
    """Return a report, if there is one that is no older than the SAE."""
    from sae_kedro.sae.io import WEIGHTS_FILE

    report, weights = _reports(cfg) / name, model_folder(cfg) / WEIGHTS_FILE
    there = report.is_file() and weights.is_file()
    return report if there and report.stat().st_mtime >= weights.stat().st_mtime else None


def _reports(cfg: dict[str, Any]) -> Path:
    return Path(cfg["data_root"], "08_reporting", run_folder(cfg))


def own_labels_file(cfg: dict[str, Any]) -> Path:
    """Return where labels of a person are kept."""
    return _reports(cfg) / "own_labels.jsonl"


def show_features(features: Features) -> str:
    """List the latents whose labels hold best on texts that made none, whatever chance may have added."""
    table: Any = features.table.dropna(subset="label").nlargest(N_SHOWN, "label_auroc_lo")
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

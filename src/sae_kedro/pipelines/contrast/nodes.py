"""Nodes that find what sets groups of texts apart. Heavy libraries load inside them."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sae_kedro.config import run_folder

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go
    from scipy import sparse

    from sae_kedro.activations.store import ActivationsStoreSBERT
    from sae_kedro.interpretation.codes import CodeBlock
    from sae_kedro.sae.base import SAE

logger = logging.getLogger(__name__)


class Compared(NamedTuple):
    """What `contrast` and `predict` of the library are asked."""

    codes: sparse.csr_array
    groups: list[object]
    options: dict[str, Any]
    """Their other arguments."""


def corpora_of(cfg: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the configuration of each corpus that is read."""
    other = cfg["contrast_path"]
    return [cfg] if other is None else [cfg, cfg | {"dataset_path": other}]


def columns_of(cfg: dict[str, Any]) -> dict[str, str]:
    """Return the columns that are read, each with the key that names it."""
    keys = ("label_column", "target_column", "unit_column")
    named = {cfg[key]: key for key in keys if cfg[key] is not None}
    return named | dict.fromkeys(cfg["control_columns"] or [], "control_columns")


def names_of(cfg: dict[str, Any]) -> list[str]:
    """Return what two corpora are called: their files, or their whole paths where these are called the same."""
    paths = [each["dataset_path"] for each in corpora_of(cfg)]
    files = [Path(path).name for path in paths]
    return files if len(set(files)) > 1 else paths


def stores_of(cfg: dict[str, Any], activations_store: ActivationsStoreSBERT) -> list[ActivationsStoreSBERT]:
    """Return the embeddings of each corpus that is read."""
    from sae_kedro.activations.store import ActivationsStoreSBERT

    return [activations_store, *(ActivationsStoreSBERT(None, other) for other in corpora_of(cfg)[1:])]


def compared(cfg: dict[str, Any], sae: SAE, stores: list[ActivationsStoreSBERT]) -> Compared:
    """Encode the texts, and read what stands beside them."""
    from scipy import sparse

    from sae_kedro.activations.beside import columns_beside
    from sae_kedro.corpora.opening import open_column
    from sae_kedro.interpretation.codes import encode_corpus

    named = columns_of(cfg)
    columns: dict[str, list[object]] = {name: [] for name in named}
    blocks: list[CodeBlock] = []
    corpora: list[object] = []
    names = names_of(cfg)
    for name, each, store in zip(names, corpora_of(cfg), stores, strict=True):
        found = list(encode_corpus(sae.to(store.device), store))
        blocks += found
        corpora += [name] * sum(len(block.texts) for block in found)
        opened = [open_column(each, key, column) for column, key in named.items()]
        for shard in columns_beside(store.cache, opened) if named else ():
            for place, column in enumerate(named):
                columns[column] += [row[place] for row in shard]
    texts = [text or "" for block in blocks for text in block.texts]
    groups = columns.get(cfg["target_column"] or cfg["label_column"], corpora)
    options = {
        "texts": texts if any(texts) else None,
        "controls": {name: columns[name] for name in cfg["control_columns"] or []} or None,
        "units": columns.get(cfg["unit_column"]),
        "positive": names[1] if len(names) > 1 else None,
        "number": cfg["target_column"] is not None,
    }
    return Compared(sparse.vstack([block.codes for block in blocks], format="csr"), groups, options)


def labels_of(cfg: dict[str, Any], sae: SAE) -> tuple[dict[int, str], dict[int, str]]:
    """Return labels and keywords of latents, as far as `interpret` has found some for this SAE."""
    from sae_kedro.interpretation.features import FILE, Features

    folder = Path(cfg["data_root"], "08_reporting", run_folder(cfg))
    if not (folder / FILE).is_file():
        logger.warning("Latents have numbers for names; `kedro run --pipelines interpret` first gives them labels")
        return {}, {}
    features = Features.load(folder, sae)
    named = features.table.dropna(subset="label")
    keywords = dict(zip(named["latent"].tolist(), named["keywords"].tolist(), strict=True))
    return features.labels, keywords


def contrast_groups(
    cfg: dict[str, Any], sae: SAE, activations_store: ActivationsStoreSBERT
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Test every latent against every group; of all rows, those worth reading are kept."""
    from sae_kedro.interpretation.contrast import contrast, worth_reading

    asked = compared(cfg, sae, stores_of(cfg, activations_store))
    labels, keywords = labels_of(cfg, sae)
    found = contrast(asked.codes, asked.groups, **asked.options, labels=labels, keywords=keywords)
    if cfg["target_column"] is not None:
        found.table["group"] = cfg["target_column"] + " " + found.table["group"]
    table = worth_reading(found.table)
    return table, found.summary | {"n_written": len(table)}


def tell_contrast(cfg: dict[str, Any], contrast: pd.DataFrame, summary: dict[str, Any]) -> tuple[str, go.Figure]:
    """Say what was found in sentences, and draw it."""
    from sae_kedro.interpretation.contrast import STRONGEST
    from sae_kedro.interpretation.told import forest, sentences, summed_up

    kept = f"contrast.csv has these and the {STRONGEST} strongest of each group: {summary['n_written']:,} rows"
    what = "texts with {}" if cfg["target_column"] is not None else "texts of {}"
    told = sentences(contrast, what=what) or ["no latent sets a group apart in both halves of the texts"]
    return "\n".join([summed_up(summary), kept, *told]) + "\n", forest(contrast)

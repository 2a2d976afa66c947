"""Nodes that find what sets groups of texts apart. Heavy libraries load inside them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sae_kedro.config import run_folder

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go
    from scipy import sparse

    from sae_kedro.activations.store import ActivationsStoreSBERT
    from sae_kedro.sae.base import SAE


class _Coded(NamedTuple):
    """The texts of a corpus, their codes, and columns beside them."""

    codes: sparse.csr_array
    texts: list[str | None]
    columns: dict[str, list[object]]


def columns_of(cfg: dict[str, Any]) -> dict[str, str]:
    """Return the columns that are read, each with the key that names it."""
    keys = ("label_column", "target_column", "unit_column")
    named = {cfg[key]: key for key in keys if cfg[key] is not None}
    return named | dict.fromkeys(cfg["control_columns"] or [], "control_columns")


def contrast_groups(
    cfg: dict[str, Any], sae: SAE, activations_store: ActivationsStoreSBERT
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Test every latent against every group."""
    from scipy import sparse

    from sae_kedro.interpretation.contrast import contrast

    here = _coded(cfg, sae, activations_store)
    codes, texts, groups = here.codes, here.texts, here.columns.get(cfg["target_column"] or cfg["label_column"])
    columns = here.columns
    if cfg["contrast_path"] is not None:
        from sae_kedro.activations.store import ActivationsStoreSBERT

        other = cfg | {"dataset_path": cfg["contrast_path"]}
        there = _coded(other, sae, ActivationsStoreSBERT(None, other))
        codes, texts = sparse.vstack([codes, there.codes], format="csr"), texts + there.texts
        groups = [cfg["dataset_path"]] * len(here.texts) + [cfg["contrast_path"]] * len(there.texts)
        columns = {name: values + there.columns[name] for name, values in columns.items()}
    assert groups is not None
    labels, keywords = _names(cfg, sae)
    found = contrast(
        codes,
        groups,
        texts=[text or "" for text in texts] if any(texts) else None,
        controls={name: columns[name] for name in cfg["control_columns"] or []} or None,
        units=columns.get(cfg["unit_column"]),
        labels=labels,
        keywords=keywords,
        positive=cfg["contrast_path"],
        number=cfg["target_column"] is not None,
    )
    return found.table, found.summary


def tell_contrast(contrast: pd.DataFrame) -> tuple[str, go.Figure]:
    """Say what was found in sentences, and draw it."""
    from sae_kedro.interpretation.told import forest, sentences

    return "\n".join(sentences(contrast)) + "\n", forest(contrast)


def _coded(cfg: dict[str, Any], sae: SAE, store: ActivationsStoreSBERT) -> _Coded:
    from scipy import sparse

    from sae_kedro.activations.beside import columns_beside
    from sae_kedro.corpora.opening import open_column
    from sae_kedro.interpretation.codes import encode_corpus

    blocks = list(encode_corpus(sae.to(store.device), store))
    names = columns_of(cfg)
    opened = [open_column(cfg, key, name) for name, key in names.items()]
    rows = [row for shard in columns_beside(store.cache, opened) for row in shard] if names else []
    columns = {name: [row[place] for row in rows] for place, name in enumerate(names)}
    codes = sparse.vstack([block.codes for block in blocks], format="csr")
    return _Coded(codes, [text for block in blocks for text in block.texts], columns)


def _names(cfg: dict[str, Any], sae: SAE) -> tuple[dict[int, str], dict[int, str]]:
    """Return labels and keywords of latents, as far as `interpret` has found some for this SAE."""
    from sae_kedro.interpretation.features import FILE, Features

    folder = Path(cfg["data_root"], "08_reporting", run_folder(cfg))
    if not (folder / FILE).is_file():
        return {}, {}
    features = Features.load(folder, sae)
    named = features.table.dropna(subset="label")
    keywords = dict(zip(named["latent"].tolist(), named["keywords"].tolist(), strict=True))
    return features.labels, keywords

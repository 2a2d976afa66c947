"""Nodes that write the codes of a corpus. Heavy libraries load inside them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sae_kedro.config import run_folder

if TYPE_CHECKING:
    from sae_kedro.activations.store import ActivationsStoreSBERT
    from sae_kedro.sae.base import SAE


def codes_folder(cfg: dict[str, Any]) -> Path:
    """Return where the codes of a run lie, a folder for each corpus."""
    return Path(cfg["data_root"], "07_model_output", run_folder(cfg))


def columns_of(cfg: dict[str, Any]) -> dict[str, str]:
    """Return the columns that travel with the codes, each with the key that names it."""
    named = {cfg["id_column"]: "id_column"} if cfg["id_column"] else {}
    return named | dict.fromkeys(cfg["columns"] or [], "columns")


def write_codes(cfg: dict[str, Any], sae: SAE, activations_store: ActivationsStoreSBERT) -> dict[str, Any]:
    """Write codes as a table and as a sparse matrix."""
    from sae_kedro.corpora.opening import open_column
    from sae_kedro.interpretation.codes import write_codes

    columns = {name: open_column(cfg, key, name) for name, key in columns_of(cfg).items()}
    folder = codes_folder(cfg) / activations_store.data_key
    return write_codes(sae.to(activations_store.device), activations_store, folder, columns)

"""What the page has of the tables of a run: metrics, features, groups."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from sae_kedro.evaluation.report import Value, scorecard, table

COLUMNS = {
    "label": None, "label_source": None, "keywords": None, "status": None, "label_auroc": 3, "label_auroc_lo": 3,
    "label_auroc_hi": 3, "keywords_auroc": 3, "n_scored": 0, "label_auroc_15": 3, "floor_auroc": 3, "nearest_auroc": 3,
    "centroid_auroc": 3, "precision": 3, "recall": 3, "f1": 3, "cohesion": 3, "stability": 3, "auroc_by_decile": 2,
    "n_texts": None, "patterns": None, "weights": 2, "direction_words": None, "family": None, "parent": None,
    "nearest": None, "nearest_cosine": 3, "fires_with": None, "fires_with_lift": 1,
}  # fmt: skip
"""Columns of the features' table that are in the page, and digits behind the point."""
MOST_UNCONFIRMED = 50
"""Rows of a group, the strongest first, that are in the page though they are not confirmed."""


def cards(metrics: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the scorecard of the report as the page draws it."""
    return [
        {
            "title": row.meaning.title,
            "explained": row.meaning.explained,
            "values": [_card(bar.value, bar.label, bar.own, bar.width) for bar in bars]
            or [_card(row.values[0], "", True, 0.0)],
        }
        for chosen in scorecard(table(metrics)).values()
        for row, bars in chosen
        if row.meaning is not None
    ]


def _card(value: Value, label: str, own: bool, width: float) -> dict[str, Any]:
    low, high = value.bounds(3) or (None, None)
    bounds = None if low is None else "always the same" if low == high else f"{low} to {high}"
    return {"label": label, "text": value.text(3), "bounds": bounds, "own": own, "width": width}


def columns(table: pd.DataFrame) -> dict[str, list[Any]]:
    """Return the columns of the features' table that the page has."""
    return {
        name: [plain(cell, digits) for cell in table[name].tolist()]
        for name, digits in COLUMNS.items()
        if name in table
    }


def groups(contrast: pd.DataFrame | None) -> dict[str, list[Any]]:
    """Return what is confirmed of a contrast, and the strongest rows of each group, without what features say."""
    if contrast is None:
        return {}
    shown = contrast[contrast["confirmed"] | (contrast.groupby("group").cumcount() < MOST_UNCONFIRMED)]
    return {name: plain(shown[name].tolist(), 6) for name in shown if name not in ("label", "keywords")}


def plain(value: Any, digits: int | None = None) -> Any:
    """Return what JSON can hold: no NaN, no NumPy."""
    if isinstance(value, dict):
        return {key: plain(each, digits) for key, each in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [plain(each, digits) for each in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return None if not np.isfinite(value) else value if digits is None else round(value, digits)
    return None if value is pd.NA else value

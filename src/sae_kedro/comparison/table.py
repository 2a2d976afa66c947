"""The table of a comparison: a row per model, a column per metric and per key in which models differ."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

from sae_kedro.comparison.grid import SWEPT_BY_NAME
from sae_kedro.keys import NOT_DECISIVE, ExperimentConfig

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("sae_type", "top_k", "l0", "fvu", "cosine", "relative_bias", "dead_fraction", "dense_fraction", "folder")
"""Columns of every table; `folder` is where the SAE lies, below that of all models."""


class Result(NamedTuple):
    """A finished model."""

    cfg: dict[str, Any]
    metrics: dict[str, Any]


def table_of(results: dict[str, Result], swept: list[str]) -> pd.DataFrame:
    """Make the table.

    Args:
        results: Models by the names of their folders, in the order of the rows.
        swept: Keys that get a column even where all rows agree.
    """
    import pandas as pd

    differing = list(dict.fromkeys([*swept, *_differing([result.cfg for result in results.values()])]))
    first, rest = COLUMNS[: len(SWEPT_BY_NAME)], COLUMNS[len(SWEPT_BY_NAME) :]
    rows = [
        {name: metrics.get(name) for name in COLUMNS} | {key: cfg.get(key) for key in differing} | {"folder": folder}
        for folder, (cfg, metrics) in results.items()
    ]
    kinds = dict.fromkeys(differing, object)  # so that whole numbers stay whole beside what is not set
    columns = (*first, *differing, *rest)
    return pd.DataFrame({name: pd.Series([row[name] for row in rows], dtype=kinds.get(name)) for name in columns})


def markdown_table(table: pd.DataFrame) -> str:
    """Format a table in Markdown, aligned: metrics with four decimals, keys as short as they are."""
    rows = [list(map(_cell, table.columns, row)) for row in table.itertuples(index=False)]
    widths = [max(map(len, column)) for column in zip(table.columns, *rows, strict=True)]
    lines = [list(table.columns), ["-" * width for width in widths], *rows]
    cells = ([cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines)
    return "".join(f"| {' | '.join(line)} |\n" for line in cells)


def _cell(column: str, value: Any) -> str:
    if value is None or value != value:  # what a variant does not have
        return "–"
    if not isinstance(value, float):
        return str(value)
    return f"{value:.4f}" if column in COLUMNS else f"{value:.10g}"


def _differing(cfgs: list[dict[str, Any]]) -> list[str]:
    """List the keys in which models differ; an option, among those of one variant."""
    values = defaultdict(set)
    for cfg in cfgs:
        for key, value in cfg.items():
            whose = None if key in ExperimentConfig.model_fields else cfg["sae_type"]
            values[key, whose].add(json.dumps(value))
    hidden = NOT_DECISIVE | {*SWEPT_BY_NAME}
    return [key for (key, _), found in values.items() if len(found) > 1 and key not in hidden]

"""One file, one plot of an evaluation: its `figure(evaluation)`. A file that is put here is plotted in every report."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sae_kedro.discovery import names_in, submodules

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from sae_kedro.evaluation.metrics import Evaluation


def figure_names() -> list[str]:
    """Return the names of the files, importing none."""
    return names_in(__name__)


def figures() -> dict[str, Callable[[Evaluation], go.Figure]]:
    """Return what plots an evaluation, by the name of its file."""
    return {name: module.figure for name, module in submodules(__name__).items()}

"""Explanations as bars in a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.bar import Bar
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from sae_kedro.interpretation.explain import Explanation

WIDEST = 100
"""Columns that are used at most."""
SMALLEST = 0.005
"""What is shown as 0.00 has no bar of its own."""
GREY_BELOW = 0.65
"""Labels whose AUROC is lower say little, and are shown in grey."""

PAIR = {"both": ("both",), "only the first": ("first",), "only the second": ("second",)}
GROUPS: dict[str, dict[str, tuple[str, ...]]] = {
    "text": {"what it is made of": ("both",)},
    "cosine": PAIR,
    "neighbour": {"": ("both", "first", "second")},
    "squared_distance": {"more or less of the same": ("both",)} | dict(list(PAIR.items())[1:]),
    "cosine_difference": {"for the first, or against it if below 0": ("both", "first", "second", "query")},
}
"""Headings and the kinds of terms below them, for each way to show an explanation."""
REST = {"common": "what all texts share", "residual": "not explained by the SAE"}


class Bars:
    """Prints to a terminal.

    Args:
        top: Bars for each kind of term at most.
    """

    def __init__(self, top: int) -> None:
        self.console, self.top = Console(highlight=False), top
        self.width = min(WIDEST, self.console.width)

    def line(self, text: str = "", style: str = "", indent: int = 0) -> None:
        """Print one line, or more if the terminal is narrow."""
        self.console.print(Padding(Text(text, style), (0, 0, 0, indent)), width=self.width)

    def show(self, found: Explanation, way: str, scores: Mapping[int, float], words: Mapping[int | None, str]) -> None:
        """Print a bar for each of the largest shares, and sums that add up.

        Args:
            found: What to print.
            way: A key of `GROUPS`.
            scores: AUROC of labels, by latent.
            words: Words that switch a latent on, by latent.
        """
        scale = max(abs(term.value) for term in found.terms)
        grid = self._grid(any(words.values()))
        for heading, kinds in GROUPS[way].items():
            terms = [term for term in found.terms if term.kind in kinds]
            if heading and terms:
                grid.add_row(Text(heading, "bold"), Text(f"{sum(term.value for term in terms):.2f}", "bold"))
            shown = [term for term in terms if abs(term.value) >= SMALLEST][: self.top]
            for term in shown:
                doubtful = term.latent is not None and scores.get(term.latent, 1.0) < GREY_BELOW
                label = Text(f"  {term.label}", "dim" if doubtful else "")
                told = Text(words.get(term.latent, ""), "italic dim")
                grid.add_row(label, f"{term.value:.2f}", _bar(term.value, scale), told)
            if rest := [term.value for term in terms[len(shown) :]]:
                grid.add_row(Text(f"  {len(rest)} more", "dim"), f"{sum(rest):.2f}", _bar(sum(rest), scale))
        for kind, heading in REST.items():
            value = sum(term.value for term in found.terms if term.kind == kind)
            grid.add_row(Text(heading, "bold"), Text(f"{value:.2f}", "bold"), _bar(value, scale))
        grid.add_row("", Text("─────", "dim"))
        grid.add_row(Text("together", "dim"), Text(f"{found.sum:.2f}", "bold"))
        self.console.print(grid)

    def pairs(self, found: Explanation, n: int) -> None:
        """Print the strongest pairs of different latents."""
        pairs = [pair for pair in found.pairs if pair.value >= SMALLEST][:n]
        if pairs:
            self.line()
            self.line("related, not the same", "bold")
        grid = self._grid(False)
        for pair in pairs:
            grid.add_row(Text("  " + " ~ ".join(pair.labels)), f"{pair.value:.2f}", "")
        self.console.print(grid)

    def _grid(self, words: bool) -> Table:
        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.width = self.width
        grid.add_column(ratio=5, no_wrap=True, overflow="ellipsis")
        grid.add_column(width=5, justify="right", no_wrap=True)
        grid.add_column(ratio=3)
        if words:
            grid.add_column(ratio=4, no_wrap=True, overflow="ellipsis")
        return grid


def _bar(value: float, scale: float) -> Bar:
    return Bar(scale, 0, abs(value), color="blue" if value >= 0 else "red")

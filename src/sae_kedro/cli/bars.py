"""Explanations as bars in a terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from rich.bar import Bar
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from sae_kedro.interpretation.explain import Explanation, Term

WIDEST = 100
"""Columns that are used at most."""
SMALLEST = 0.005
"""What is shown as 0.00 has no bar of its own."""
GREY_BELOW = 0.65
"""Labels whose AUROC is lower say little, and are shown in grey."""

Group = Callable[["Term"], bool]
PAIR: dict[str, Group] = {
    "both": lambda term: term.kind == "both",
    "only the first": lambda term: term.kind == "first",
    "only the second": lambda term: term.kind == "second",
}
GROUPS: dict[str, dict[str, Group]] = {
    "text": {"features": lambda _: True},
    "neighbour": {"": lambda _: True},
    "cosine": PAIR,
    "squared_distance": PAIR,
    "cosine_difference": {"for the first": lambda term: term.value >= 0, "for the second": lambda term: term.value < 0},
}
"""Headings and the latents that are listed below them, for each way to show an explanation."""
REST = {"common": "what all texts share", "residual": "not explained by the SAE"}


class Bars:
    """Prints to a terminal.

    Args:
        top: Bars for each kind of term at most.
    """

    def __init__(self, top: int) -> None:
        self.console, self.top = Console(highlight=False), top
        self.width = min(WIDEST, self.console.width)

    def line(self, text: str, style: str = "") -> None:
        """Print a line, or more if it is long."""
        self.console.print(Text(text, style), width=self.width)

    def show(self, found: Explanation, way: str, scores: Mapping[int, float], words: Mapping[int, str]) -> None:
        """Print a bar for each of the largest shares, and sums that add up.

        Args:
            found: What to print.
            way: A key of `GROUPS`.
            scores: AUROC of labels, by latent.
            words: Words that switch a latent on, by latent.
        """
        scale = max(abs(term.value) for term in found.terms)
        grid = self._grid(any(words.values()))
        for heading, belongs in GROUPS[way].items():
            terms = [term for term in found.terms if term.latent is not None and belongs(term)]
            if heading and terms:
                grid.add_row(Text(heading, "bold"), Text(f"{sum(term.value for term in terms):.2f}", "bold"))
            shown = [term for term in terms if abs(term.value) >= SMALLEST][: self.top]
            for term in shown:
                assert term.latent is not None
                label = Text(f"  {term.label}", "dim" if scores.get(term.latent, 1) < GREY_BELOW else "")
                told = Text(words.get(term.latent, ""), "italic dim")
                grid.add_row(label, f"{term.value:.2f}", _bar(term.value, scale), told)
            if rest := [term.value for term in terms[len(shown) :]]:
                grid.add_row(Text(f"  {len(rest)} more", "dim"), Text(f"{sum(rest):.2f}", "dim"))
        for kind, heading in REST.items():
            value = sum(term.value for term in found.terms if term.kind == kind)
            grid.add_row(Text(heading, "bold"), Text(f"{value:.2f}", "bold"), _bar(value, scale))
        grid.add_row("", Text("─────", "dim"))
        grid.add_row(Text("together", "dim"), Text(f"{found.sum:.2f}", "bold"))
        self.console.print(grid)

    def pairs(self, found: Explanation, n: int) -> None:
        """Print the strongest pairs of different latents, whichever text has which of them."""
        together: dict[tuple[str, ...], float] = {}
        for pair in found.pairs:
            key = pair.labels if pair.labels in together else pair.labels[::-1]
            key = key if key in together else pair.labels
            together[key] = together.get(key, 0) + pair.value
        best = sorted(together.items(), key=lambda item: -item[1])[:n]
        if best := [(labels, value) for labels, value in best if value >= SMALLEST]:
            self.line("\nrelated, not the same", "bold")
        for labels, value in best:
            self.line(f"  {value:.2f}  {' ~ '.join(labels)}")

    def _grid(self, words: bool) -> Table:
        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.width = self.width
        grid.add_column(ratio=6, no_wrap=True, overflow="ellipsis")
        grid.add_column(width=5, justify="right", no_wrap=True)
        grid.add_column(ratio=3)
        if words:
            grid.add_column(ratio=4, no_wrap=True, overflow="ellipsis")
        return grid


def _bar(value: float, scale: float) -> Bar:
    return Bar(scale, 0, abs(value), color="blue" if value >= 0 else "red")

"""The column of a source that is read, and what every format does where it is not there or a line cannot be read."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from sae_kedro.corpora.base import BadLine
from sae_kedro.errors import InputError, nearest

_MOST_COLUMNS = 50


class Column(NamedTuple):
    """What is read of a file with columns."""

    name: str
    key: str
    """The configuration key that names the column."""
    bad_lines: str | None
    """What a line that cannot be read does: `fail`, or `skip`, which leaves a `BadLine` in its place. None fails, too,
    and does not offer to skip."""

    @property
    def holds_texts(self) -> bool:
        """Whether rows that are bare values, without columns, are meant."""
        return self.key == "text_column"

    def check(self, place: object, columns: list[str]) -> None:
        """Make sure that the column is among those of a file or dataset.

        Raises:
            InputError: It is not; names those that are.
        """
        if self.name not in columns:
            raise InputError(
                f"{self.key}={self.name!r} is not in {place}, whose columns are {_named(columns) or 'none'}"
                f"{nearest(self.name, columns[:_MOST_COLUMNS])}"
            )

    def bad(self, file: Path, line: int, reason: str, detail: object = "") -> BadLine:
        """Do with a line that cannot be read what `bad_lines` says.

        Raises:
            InputError: That is to fail; names the line.
        """
        if self.bad_lines == "skip":
            return BadLine(reason)
        offer = "; set bad_lines=skip to leave such lines out, counted" if self.bad_lines else ""
        raise InputError(f"{file}, line {line}: {reason}{f' ({detail})' if detail else ''}{offer}")


def _named(columns: list[str]) -> str:
    """List columns on one line, whatever their names hold."""
    names = [name if name.isprintable() else ascii(name) for name in columns[:_MOST_COLUMNS]]
    return ", ".join(names) + (f" and {len(columns) - len(names):,} more" if len(names) < len(columns) else "")

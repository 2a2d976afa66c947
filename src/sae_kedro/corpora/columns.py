"""The column of a source that is read, and what every format does where it is not there or a line cannot be read.

A name is that of a column, a path into one (`meta.body`, `messages.content`), or several of either joined by `+`. A
path that meets a list goes into each of its elements, each of which is a row; what is joined is one row, a line each.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from sae_kedro.corpora.base import BadLine
from sae_kedro.errors import InputError, nearest

Rows = Callable[[Mapping[str, Any]], list[object]]
"""Turns a record into the rows that it holds, mostly one."""
_MOST_COLUMNS = 50


class MissingColumnError(InputError):
    """A source has no column of this name."""


class Column(NamedTuple):
    """What is read of a file with columns."""

    name: str
    key: str
    """The configuration key that names the column."""
    bad_lines: str | None
    """What a line that cannot be read does: `fail`, or `skip`, which leaves a `BadLine` in its place. None fails, too,
    and does not offer to skip."""
    beside: str | None = None
    """The column of texts that this one lies beside: its value is repeated for each text of a record."""

    @property
    def holds_texts(self) -> bool:
        """Whether rows that are bare values, without columns, are meant."""
        return self.key == "text_column"

    @property
    def holds_vectors(self) -> bool:
        """Whether a value is a list that is not to be taken apart."""
        return self.key == "embedding_column"

    def parts(self, place: object, columns: Collection[str]) -> list[tuple[str, ...]]:
        """Return the paths that the name is made of, each with a column at its head.

        Raises:
            InputError: A column is not there; names those that are.
        """
        found = _parts(self.name, columns)
        if found is None:
            raise MissingColumnError(self._missing(place, columns, list(columns)))
        if self.holds_vectors and len(found) > 1:
            raise InputError(f"{self.key}={self.name!r} joins columns, which embeddings cannot be; name one")
        return found

    def needs(self, place: object, columns: Collection[str]) -> list[str]:
        """Return the columns that have to be read."""
        beside = _parts(self.beside, columns) if self.beside else None
        return list(dict.fromkeys(path[0] for path in self.parts(place, columns) + (beside or [])))

    def reader(self, place: object, record: Mapping[str, Any]) -> Rows:
        """Look at a first record, and return what reads it and those that follow.

        Raises:
            InputError: What is named is not in it, or is no value but an object; names what would do.
        """
        own = self.parts(place, record)
        if self.holds_vectors:
            return lambda record: [_value(record, own[0])]
        for path in own:
            self._check(place, record, path)
        beside = _parts(self.beside, record) if self.beside else None
        if beside is None:
            return lambda record: _values(record, own)
        return lambda record: (_values(record, own) or [None])[:1] * len(_values(record, beside))

    def bad(self, file: Path, line: int, reason: str, detail: object = "") -> BadLine:
        """Do with a line that cannot be read what `bad_lines` says.

        Raises:
            InputError: That is to fail; names the line.
        """
        if self.bad_lines == "skip":
            return BadLine(reason)
        offer = "; set bad_lines=skip to leave such lines out, counted" if self.bad_lines else ""
        raise InputError(f"{file}, line {line}: {reason}{f' ({detail})' if detail else ''}{offer}")

    def _check(self, place: object, record: Mapping[str, Any], path: tuple[str, ...]) -> None:
        """Make sure that a path leads to values in a record, as far as that one tells."""
        leaves = list(_leaves(record[path[0]], path[0]))
        name = ".".join(path)
        if leaves and name not in {leaf for leaf, _ in leaves} and any(value is not None for _, value in leaves):
            names = list(dict.fromkeys(leaf for leaf, _ in leaves))
            if any(leaf.startswith(f"{name}.") for leaf in names):
                fit = [leaf for leaf in names if leaf.startswith(f"{name}.")]
                raise InputError(
                    f"{self.key}={self.name!r} is an object in {place}, not a value; choose one of {_named(fit)}"
                )
            raise InputError(self._missing(place, names, names))

    def _missing(self, place: object, columns: Collection[str], names: list[str]) -> str:
        return (
            f"{self.key}={self.name!r} is not in {place}, whose columns are {_named(list(columns)) or 'none'}"
            f"{nearest(self.name, names[:_MOST_COLUMNS])}"
        )


def column_of(cfg: dict[str, Any], key: str) -> Column:
    """Return the column that a configuration names by `text_column`, or by another key beside it."""
    return Column(str(cfg[key]), key, cfg["bad_lines"], None if key == "text_column" else str(cfg["text_column"]))


def _parts(name: str, columns: Collection[str]) -> list[tuple[str, ...]] | None:
    """Split a name into paths; None if one of them starts with no column."""
    if name in columns:
        return [(name,)]
    if "+" in name:
        joined = [_parts(part.strip(), columns) for part in name.split("+")]
        return None if None in joined else [path for paths in joined if paths for path in paths]
    words = name.split(".")
    heads = ((".".join(words[:end]), words[end:]) for end in range(len(words) - 1, 0, -1))
    return next(([(head, *rest)] for head, rest in heads if head in columns), None)


def _values(record: Mapping[str, Any], paths: list[tuple[str, ...]]) -> list[object]:
    """Return the rows of a record: the values at the end of a path, or one text joined of those of several."""
    if len(paths) == 1:
        return _walk(record, paths[0])
    texts = [value for path in paths for value in _walk(record, path) if value is not None]
    odd = next((text for text in texts if not isinstance(text, str)), None)
    return ["\n".join(map(str, texts)) if texts and odd is None else odd]


def _value(record: Mapping[str, Any], path: tuple[str, ...]) -> object:
    """Return what lies at the end of a path through objects, a list for instance; None if it leads nowhere."""
    value: Any = record
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _walk(value: Any, path: tuple[str, ...]) -> list[object]:
    if isinstance(value, list):
        return [end for element in value for end in _walk(element, path)]
    if not path:
        return [value]
    return _walk(value.get(path[0]), path[1:]) if isinstance(value, Mapping) else [None]


def _leaves(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Yield the paths below a value that lead to something that is neither object nor list, and what lies there."""
    if isinstance(value, Mapping):
        for key, child in value.items():
            yield from _leaves(child, f"{name}.{key}")
    elif isinstance(value, list):
        for element in value[:1]:
            yield from _leaves(element, name)
    else:
        yield name, value


def _named(columns: list[str]) -> str:
    """List columns on one line, whatever their names hold."""
    names = [name if name.isprintable() else ascii(name) for name in columns[:_MOST_COLUMNS]]
    return ", ".join(names) + (f" and {len(columns) - len(names):,} more" if len(names) < len(columns) else "")

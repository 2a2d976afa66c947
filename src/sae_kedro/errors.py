"""Errors a user can mend."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable
from difflib import get_close_matches

LONGEST = 200
"""Characters of a value that a sentence shows."""


class InputError(ValueError):
    """Bad input, told in one sentence: what was given, what is allowed, the nearest valid choice."""


def nearest(given: object, allowed: Iterable[str]) -> str:
    """Return `"; did you mean 'x'?"` for the allowed name closest to `given`, or an empty string."""
    names = {name.lower(): name for name in allowed}
    word = given if isinstance(given, str) else shown(given)
    matches = get_close_matches(word[:100].lower(), names, n=1, cutoff=0.6)
    return f"; did you mean {names[matches[0]]!r}?" if matches else ""


def shown(value: object) -> str:
    """Return what `repr` says of a value in one line, and a long value's beginning and end."""
    text = " ".join(_SHORT.repr(value).splitlines())
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 30]}...{text[-27:]}"


class _Short(reprlib.Repr):
    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = LONGEST
        self.maxlevel = 3

    def repr_int(self, x: int, level: int) -> str:
        """Leave out the digits where Python refuses to write them all."""
        return super().repr_int(x, level) if abs(x) < 10**40 else f"<a whole number of {x.bit_length()} bits>"


_SHORT = _Short()

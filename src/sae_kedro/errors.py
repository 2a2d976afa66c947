"""Errors a user can mend."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class InputError(ValueError):
    """Bad input, told in one sentence: what was given, what is allowed, the nearest valid choice."""


def nearest(given: object, allowed: Iterable[str]) -> str:
    """Return `"; did you mean 'x'?"` for the allowed name closest to `given`, or an empty string."""
    names = {name.lower(): name for name in allowed}
    matches = get_close_matches(str(given).lower(), names, n=1, cutoff=0.6)
    return f"; did you mean {names[matches[0]]!r}?" if matches else ""

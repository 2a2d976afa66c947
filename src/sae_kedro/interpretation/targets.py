"""What texts are compared by: classes, each against the rest, or a number."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import sparse

from sae_kedro.errors import InputError, nearest, shown
from sae_kedro.interpretation.statistics import Floats, Ints, Sparse, ranks_within
from sae_kedro.interpretation.units import Bools, Column, Units, as_units, checked_codes

logger = logging.getLogger(__name__)

LEAST_TEXTS = 10
"""Different texts (or units) that a group needs to be compared, and a latent to fire on: each half gets about five."""
MOST_GROUPS = 500


class Target(NamedTuple):
    """The column that texts are compared by, without the rows that have no value."""

    rows: Ints
    """Rows that have one."""
    classes: Ints
    """`(len(rows),)`: the number of the class; 0 everywhere where the target is a number."""
    names: list[str]
    """Of the classes."""
    values: Floats | None
    """`(len(rows),)`: the number."""


class Asked(NamedTuple):
    """Texts, ready to be compared."""

    codes: sparse.csr_array
    """`(n_rows, n_latents)`: rows that have a value, latents that fire on enough units."""
    rows: Ints
    """`(n_rows,)`: which rows these are."""
    latents: Ints
    """`(n_latents,)`: which latents these are."""
    units: Units
    question: Question


class Question(NamedTuple):
    """What is asked of units: which latents go with which group, or with a number."""

    names: list[str]
    """Of the groups, each set against the rest."""
    members: sparse.csr_array
    """`(n_units, n_groups)`: 1 for a member."""
    values: Floats | None
    """`(n_units,)`: the number, whose upper half is then the only group."""

    def scores(self, strata: Ints) -> Sparse:
        """Return what ranks of codes are tested against, `(n_units, n_groups)`."""
        return self.members if self.values is None else ranks_within(self.values, strata)[:, None]

    def take(self, rows: Bools) -> Question:
        """Ask the same of some of the units."""
        return Question(self.names, self.members[rows], None if self.values is None else self.values[rows])


def ask(
    codes: Sparse,
    groups: Column,
    *,
    texts: Sequence[str] | None,
    lengths: Column | None,
    controls: Mapping[str, Column] | pd.DataFrame | None,
    units: Column | None,
    positive: str | None,
    number: bool,
) -> Asked:
    """Check and collapse what `contrast` and `predict` are given; they explain the arguments.

    Raises:
        InputError: A column does not fit the codes, there are too few or too many groups, or too few texts.
    """
    held = dict(controls or {})
    columns = {"groups": groups, "texts": texts, "lengths": lengths, "units": units, **held}
    codes = checked_codes(codes, columns)
    target = read_target(groups, number)
    if n_missing := codes.shape[0] - len(target.rows):
        logger.warning("%d of %d rows have no value to compare by and are left out", n_missing, codes.shape[0])
    codes = codes[target.rows]
    kept = {name: None if column is None else pd.Series(column).iloc[target.rows] for name, column in columns.items()}
    held = {name: kept[name] for name in held}
    them = as_units(codes, target.classes, kept["texts"], kept["lengths"], held, kept["units"])
    question = _question(target, them, positive)
    latents = np.flatnonzero(np.bincount(them.firing.indices, minlength=codes.shape[1]) >= LEAST_TEXTS)
    if not len(latents):
        raise InputError(
            f"no latent fires on {LEAST_TEXTS} of the {len(them.strata)} different texts; compare more texts"
        )
    them = them._replace(codes=them.codes[:, latents], firing=them.firing[:, latents])
    return Asked(sparse.csr_array(codes[:, latents]), target.rows, latents, them, question)


def check_target(groups: Column, keys: Sequence[Hashable], *, positive: str | None, number: bool) -> None:
    """Refuse what `ask` would refuse, as far as that is known before there are codes.

    Args:
        groups: `(n,)`: the class of each row, or its number.
        keys: `(n,)`: what tells the units of a group apart, such as their texts.
        positive: The only group to set against the rest.
        number: Whether `groups` is a number.

    Raises:
        InputError: There are too few or too many groups, or too few texts of one.
    """
    target = read_target(groups, number)
    if target.values is None:
        kept = pd.Series(keys, dtype=object).iloc[target.rows].to_numpy()
        classes = pd.DataFrame({"class": target.classes, "key": kept}).drop_duplicates()["class"]
        _compared(target, classes.to_numpy(), positive)


def read_target(column: Column, number: bool) -> Target:
    """Read classes or a number from a column; None, NaN and blank are no value.

    Raises:
        InputError: There is nothing to compare: a single class, more than `MOST_GROUPS`, or no two different numbers.
    """
    values = pd.Series(column).reset_index(drop=True)
    given = values.notna() & (values.astype(str).str.strip() != "")
    rows = np.flatnonzero(given)
    values = values.iloc[rows]
    if number:
        numbers = pd.to_numeric(values, errors="coerce").to_numpy(np.float64)
        wrong = np.flatnonzero(~np.isfinite(numbers))
        if len(wrong):
            first = int(wrong[0])
            raise InputError(f"the target must hold finite numbers; row {rows[first]} is {shown(values.iloc[first])}")
        if (n_different := len(np.unique(numbers))) < 2:
            raise InputError(f"the target needs two different numbers; its {len(rows)} rows have {n_different}")
        return Target(rows, np.zeros(len(rows), np.int64), [], numbers)
    classes, names = pd.factorize(values.astype(str), sort=True)
    if len(names) < 2:
        there = f"only {shown(str(names[0]))}" if len(names) else "none"
        raise InputError(f"groups need at least two classes; there is {there}")
    return Target(rows, classes.astype(np.int64), [str(name) for name in names], None)


def _question(target: Target, them: Units, positive: str | None) -> Question:
    """Find the groups that have enough units, and who belongs to each."""
    first_row = sparse.csr_array(them.members).indices[them.members.indptr[:-1]]
    if target.values is not None:
        values = them.members @ target.values
        edge = np.median(values)
        high = values > edge if (values > edge).any() else values >= edge
        sign = "above" if (values > edge).any() else "at least"
        _refuse_small({f"{sign} {edge:.6g}": int(high.sum()), "the rest": int((~high).sum())})
        return Question([f"{sign} {edge:.6g}"], sparse.csr_array(high[:, None].astype(np.float64)), values)
    classes = target.classes[first_row]
    chosen, counts = _compared(target, classes, positive)
    small = [name for name in counts if counts[name] < LEAST_TEXTS]
    if small and positive is None:
        logger.warning(
            "%d classes have fewer than %d different texts and are only part of the rest, such as %s with %d",
            *(len(small), LEAST_TEXTS, shown(small[0]), counts[small[0]]),
        )
    column = {target.names.index(name): index for index, name in enumerate(chosen)}
    inside = np.flatnonzero(np.isin(classes, list(column)))
    members = (np.ones(len(inside)), (inside, [column[number] for number in classes[inside].tolist()]))
    return Question(chosen, sparse.csr_array(members, shape=(len(classes), len(chosen))), None)


def _compared(target: Target, classes: Ints, positive: str | None) -> tuple[list[str], dict[str, int]]:
    """Return the classes that are set against the rest, and how many units, whose classes are given, each class has."""
    if positive is not None and positive not in target.names:
        raise InputError(
            f"positive={positive!r} is none of the {len(target.names)} classes{nearest(positive, target.names)}"
        )
    counts = dict(zip(target.names, np.bincount(classes, minlength=len(target.names)).tolist(), strict=True))
    if positive is not None or len(counts) == 2:
        one = positive or target.names[-1]
        _refuse_small({one: counts[one], "the rest": len(classes) - counts[one]} if len(counts) > 2 else counts)
        chosen = [one]
    else:
        chosen = [name for name, count in counts.items() if count >= LEAST_TEXTS]
    if not 1 <= len(chosen) <= MOST_GROUPS:
        raise InputError(
            f"groups have {len(counts)} classes, of which {len(chosen)} have {LEAST_TEXTS} different texts; "
            f"from 2 to {MOST_GROUPS} can be compared; is it a number, or a column of ids?"
        )
    return chosen, counts


def _refuse_small(counts: dict[str, int]) -> None:
    for name, count in counts.items():
        if count < LEAST_TEXTS:
            raise InputError(
                f"a group needs {LEAST_TEXTS} different texts or units to be compared; {shown(name)} has {count}"
            )

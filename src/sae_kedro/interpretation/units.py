"""What counts once in a comparison of texts: a distinct text, or all texts of one author; its stratum and its half."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse
from xxhash import xxh3_64_intdigest

from sae_kedro.corpora.base import clean_text, text_hash
from sae_kedro.errors import InputError, shown
from sae_kedro.interpretation.statistics import Floats, Ints, Sparse

Column = Any
"""`(n,)`: a list, an array or a pandas series."""
Bools = NDArray[np.bool_]

PER_STRATUM, FEWEST_BINS, MOST_BINS = 250, 5, 40
"""Units that a quantile of length should hold, and how many quantiles there are. Quintiles are too coarse for many
texts: of 600 null latents and two groups of different length 13 had q < .05 at 60,000 texts, and with 20 or 40 none."""
MOST_VALUES = 50
"""Values that a control may have; a number with more than `FEWEST_BINS` is cut at its quantiles."""
MOST_STRATA = 2000


class Units(NamedTuple):
    """Rows collapsed to what counts once."""

    codes: sparse.csr_array
    """`(n_units, dict_size)`: the mean over a unit's distinct texts."""
    firing: sparse.csr_array
    """`(n_units, dict_size)`: the share of them that fire; the sum over units counts hits."""
    members: sparse.csr_array
    """`(n_units, n_rows)`: the weight of each row in the mean of its unit."""
    strata: Ints
    """`(n_units,)`: units of like length and equal controls."""
    controls: Ints
    """`(n_units,)`: units of equal controls, whatever their length."""
    hashes: NDArray[np.uint64]
    """`(n_units,)`: of the text or author."""
    unit: Ints
    """`(n_rows,)`: the unit of each row."""
    copies: Floats
    """`(n_rows,)`: how often the row's text occurs in its group."""
    n_texts: Floats
    """`(n_units,)`: distinct texts of each unit."""

    @property
    def discovery(self) -> Bools:
        """`(n_units,)`: the half that finds; the other confirms."""
        return np.asarray(self.hashes % 2 == 0)


def checked_codes(codes: Sparse, columns: Mapping[str, Column | None]) -> sparse.csr_array:
    """Return codes as CSR, after looking whether every column has a value for each of their rows.

    Raises:
        InputError: A column is shorter or longer, or a code is not finite.
    """
    codes = sparse.csr_array(codes)
    for name, column in columns.items():
        if column is not None and len(column) != codes.shape[0]:
            raise InputError(f"{name} needs a value for each of {codes.shape[0]} rows of codes; it has {len(column)}")
    bad = np.flatnonzero(~np.isfinite(codes.data))
    if len(bad):
        row = int(np.searchsorted(codes.indptr, bad[0], side="right")) - 1
        raise InputError(f"codes must be finite; row {row} holds {codes.data[bad[0]]}")
    return codes


def as_units(
    codes: sparse.csr_array,
    group: Ints,
    texts: Sequence[str] | None,
    lengths: Column | None,
    controls: Mapping[str, Column] | None,
    units: Column | None,
) -> Units:
    """Collapse rows: equal texts of one group count once, and with `units` all texts of one author and group do.

    Texts are equal if only case, width of characters and spaces differ. The half of a unit is decided by the hash of
    its text or author, so copies are never in both, and neither the order of rows nor that of latents matters. Rows
    without a text are told apart by their codes.

    Args:
        codes: `(n_rows, dict_size)`.
        group: `(n_rows,)`: the group of each row, from 0; all 0 where a number is the target.
        texts: A text for each row.
        lengths: The length of each row; by default characters of its text.
        controls: Columns by name whose values are held equal in comparisons.
        units: The author, document or source of each row.

    Raises:
        InputError: Controls have too many values.
    """
    keys = _hashes(codes, texts)
    if lengths is None:
        lengths = [0] * codes.shape[0] if texts is None else [len(text) for text in texts]
    length = np.asarray(lengths, np.float64)
    cell = np.zeros(codes.shape[0], np.int64)
    for name, column in (controls or {}).items():
        cell = _numbered(cell, _levels(name, column))
    within = _numbered(group, cell)
    author = keys if units is None else np.array([text_hash(clean_text(str(unit))) for unit in units], np.uint64)
    unit = _numbered(within, author)
    text = _numbered(unit, keys)
    first = _first(text)
    n_texts = np.bincount(unit[first]).astype(np.float64)
    n_units, rows = len(n_texts), np.arange(len(unit))
    weight = 1 / (_counts(text) * n_texts[unit])
    members = sparse.csr_array((weight, (unit, rows)), shape=(n_units, len(rows)))
    fired = sparse.csr_array((np.ones(codes.nnz), codes.indices, codes.indptr), shape=codes.shape)
    fired.data[codes.data == 0] = 0
    firsts = _first(unit)
    cells = np.unique(cell[firsts], return_inverse=True)[1]
    n_bins = int(np.clip(n_units / (PER_STRATUM * (cells.max() + 1)), FEWEST_BINS, MOST_BINS))
    # the length of all texts of a unit: many texts, too, give a latent more chances to fire
    total = np.bincount(unit[first], weights=length[first]).astype(np.float64)
    strata = _numbered(cells, quantile_bins(total, n_bins))
    if (n_strata := int(strata.max()) + 1) > MOST_STRATA:
        raise InputError(f"controls and length make {n_strata} strata of {n_units} texts; hold fewer controls equal")
    return Units(
        codes=sparse.csr_array(members @ codes),
        firing=sparse.csr_array(members @ fired),
        members=members,
        strata=strata,
        controls=cells,
        hashes=author[firsts],
        unit=unit,
        copies=_counts(_numbered(group, keys)),
        n_texts=n_texts,
    )


def quantile_bins(values: Floats, n_bins: int) -> Ints:
    """Number the quantile that each value falls into; equal values share one."""
    edges = np.unique(np.quantile(values, np.arange(1, n_bins) / n_bins))
    return np.searchsorted(edges, values, side="left").astype(np.int64)


def normalised(text: str) -> str:
    """Return a text without what makes no difference to a reader: case, width of characters, runs of spaces."""
    return " ".join(unicodedata.normalize("NFKC", clean_text(text)).casefold().split())


def _hashes(codes: sparse.csr_array, texts: Sequence[str] | None) -> NDArray[np.uint64]:
    if texts is not None:
        return np.array([text_hash(normalised(str(text))) for text in texts], np.uint64)
    rows = np.split(codes.data, codes.indptr[1:-1])
    return np.array(
        [xxh3_64_intdigest(np.sort(row).astype("<f4").data, seed=0 if len(row) else n) for n, row in enumerate(rows)],
        np.uint64,
    )


def _levels(name: str, column: Column) -> Ints:
    """Number the values of a control."""
    values = pd.Series(column).reset_index(drop=True)
    numbers, levels = pd.factorize(values.astype(str), sort=True)
    if len(levels) > FEWEST_BINS and pd.api.types.is_numeric_dtype(values):
        return quantile_bins(values.fillna(values.min()).to_numpy(np.float64), FEWEST_BINS)
    if len(levels) > MOST_VALUES:
        raise InputError(
            f"the control {name!r} has {len(levels)} values (such as {shown(levels[0])}); at most {MOST_VALUES} can be "
            "held equal; authors and documents are units, not controls"
        )
    return np.asarray(numbers, dtype=np.int64)


def _numbered(a: NDArray[Any], b: NDArray[Any]) -> Ints:
    """Number the pairs that occur, from 0 in sorted order."""
    numbers = [np.unique(column, return_inverse=True)[1].astype(np.int64) for column in (a, b)]
    pairs = numbers[0] * (int(numbers[1].max(initial=0)) + 1) + numbers[1]
    return np.asarray(np.unique(pairs, return_inverse=True)[1], dtype=np.int64)


def _counts(numbers: Ints) -> Floats:
    """Return how often the number of each row occurs."""
    return np.asarray(np.bincount(numbers)[numbers], dtype=np.float64)


def _first(numbers: Ints) -> Ints:
    """Return the first row of each number."""
    return np.asarray(np.unique(numbers, return_index=True)[1], dtype=np.int64)

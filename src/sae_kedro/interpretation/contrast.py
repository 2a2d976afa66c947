"""What sets groups of texts apart: every latent against every group, with honest p-values, effects and warnings."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import sparse

from sae_kedro.interpretation.statistics import (
    Floats,
    Ints,
    RankedCodes,
    Sparse,
    benjamini_hochberg,
    log10_p,
    odds_ratio,
    p_value,
    rate_difference,
)
from sae_kedro.interpretation.targets import Question, ask
from sae_kedro.interpretation.units import Bools, Column, Units

logger = logging.getLogger(__name__)

LEVEL = 0.05
N_SHUFFLES = 20
LENGTH_DRIVEN, ONE_SOURCE, REPEATED = 2.0, 0.5, 0.2
"""What a row is warned of: its z without regard to length is this many times larger, or this share of the texts that
fire comes from one unit, or is one text."""
LEAST_COPIES = 3
STRONGEST = 10
"""Rows of each group that are worth reading even where none is significant: as many as one looks at."""
LOST = 0.1
"""Share of a group in strata without anybody to compare with, above which controls are said to separate groups."""


class Contrast(NamedTuple):
    """What sets groups apart."""

    table: pd.DataFrame
    """A row for each latent and group, the largest |z| first; `contrast` explains the columns."""
    summary: dict[str, Any]
    """What was compared, how much was found, and how much shuffled groups give."""


def contrast(
    codes: Sparse,
    groups: Column,
    *,
    texts: Sequence[str] | None = None,
    lengths: Column | None = None,
    controls: Mapping[str, Column] | pd.DataFrame | None = None,
    units: Column | None = None,
    labels: Mapping[int, str] | None = None,
    keywords: Mapping[int, str] | None = None,
    positive: str | None = None,
    number: bool = False,
    n_shuffles: int = N_SHUFFLES,
) -> Contrast:
    """Find the latents that fire more often, or more strongly, in one group of texts than in the rest.

    One test of presence and strength (`RankedCodes.test`) within strata of length and controls gives `z`, `p` and, by
    Benjamini and Hochberg over all latents and groups, `q`. All texts take part: the latents were made without the
    groups. The hash of a text puts it into one of two halves. What has q < .05 in the first, and p < .05 with the same
    sign in the second, is `confirmed`; effects and intervals are those of the second half, so they are not flattered by
    the choice of a row. Nothing here says that one thing causes another.

    Two corpora are codes one above the other, with the corpus as the group. Of two groups, the last in order is set
    against the other. With `number`, `z` is of a rank correlation, and effects compare the upper half with the lower.

    Columns: `group`, `latent`, `label`, `keywords`; `n_a` and `n_b`, units of the group and of the rest in the second
    half; `rate_a` and `rate_b`, the shares of them that fire; `diff`, `diff_lo`, `diff_hi` (Newcombe); `odds_ratio`,
    `or_lo`, `or_hi` within strata (Mantel and Haenszel); `auc`, the chance that a text of the group has the larger code
    within its stratum; `z`, `p`, `log10_p`, `q`, `confirmed`; `z_any_length`, without regard to length; `warning`:
    `length`, `one source`, `repeated text`.

    Args:
        codes: `(n, dict_size)`.
        groups: `(n,)`: the class of each row, or its number; rows without one are left out.
        texts: `(n,)`: tell copies and halves apart; without them the codes do.
        lengths: `(n,)`: to stratify by; characters of the texts by default.
        controls: Columns `(n,)` by name that are held equal, too.
        units: `(n,)`: the author or document of a row, where texts of one are not independent.
        labels: Names of latents.
        keywords: Their keywords.
        positive: The only group to set against the rest.
        number: Whether `groups` is a number.
        n_shuffles: How often groups are shuffled within strata, to see what chance finds.

    Raises:
        InputError: A column does not fit the codes, there are too few or too many groups, or too few texts.
    """
    n_latents = codes.shape[1]
    codes, rows, tested, them, question = ask(
        codes,
        groups,
        texts=texts,
        lengths=lengths,
        controls=controls,
        units=units,
        positive=positive,
        number=number,
    )
    _warn_of_separation(question, them.strata)

    ranked = RankedCodes(them.codes, them.strata)
    z = ranked.test(question.scores(them.strata)).z
    p = p_value(z)
    q = benjamini_hochberg(p)
    z_any_length = RankedCodes(them.codes, them.controls).test(question.scores(them.controls)).z
    first, _ = _half(them, question, them.discovery)
    second, auc = _half(them, question, ~them.discovery)
    confirmed = (benjamini_hochberg(p_value(first)) < LEVEL) & (p_value(second) < LEVEL) & (first * second > 0)
    by_test = {"auc": auc, "z": z, "p": p, "log10_p": log10_p(z), "q": q, "confirmed": confirmed}
    by_test |= {"z_any_length": z_any_length, "warning": _warnings(codes, them, question, z, z_any_length)}
    table = pd.DataFrame(
        {
            "group": np.repeat(question.names, len(tested)),
            "latent": np.tile(tested, len(question.names)),
            **_effects(them, question),
            **{name: column.ravel() for name, column in by_test.items()},
        }
    )
    table.insert(2, "label", [(labels or {}).get(latent, f"latent {latent}") for latent in table["latent"]])
    table.insert(3, "keywords", [(keywords or {}).get(latent, "") for latent in table["latent"]])
    table = table.sort_values("z", key=np.abs, ascending=False, kind="stable", ignore_index=True)
    summary = {
        "n_rows": len(rows),
        "n_units": len(them.strata),
        "n_strata": int(them.strata.max()) + 1,
        "groups": question.names,
        "n_tested": len(tested),
        "n_compared": len(table),
        "n_too_rare": n_latents - len(tested),
        "n_q05": int((q < LEVEL).sum()),
        "n_confirmed": int(confirmed.sum()),
        "n_q05_shuffled": [_found_by_chance(ranked, them.strata, question, seed) for seed in range(n_shuffles)],
    }
    return Contrast(table, summary)


def worth_reading(table: pd.DataFrame) -> pd.DataFrame:
    """Return what is significant or confirmed, and the strongest rows of each group: all of 150 groups are 450,000.

    Args:
        table: `Contrast.table`; q stays that among all of its rows.
    """
    strongest = table.groupby("group").cumcount() < STRONGEST
    return table[(table["q"] < LEVEL) | table["confirmed"] | strongest]


def _half(them: Units, question: Question, rows: Bools) -> tuple[Floats, Floats]:
    """Return z and AUC of some of the units: `(n_groups, n_latents)`."""
    strata = np.unique(them.strata[rows], return_inverse=True)[1]
    ranked, half = RankedCodes(them.codes[rows], strata), question.take(rows)
    by_group = ranked.test(half.members)
    z = by_group.z if half.values is None else ranked.test(half.scores(strata)).z
    return z, ranked.auc(half.members, by_group.statistic)


def _effects(them: Units, question: Question) -> dict[str, Floats]:
    """Return rates, differences and odds ratios in the second half, group after group."""
    rows = ~them.discovery
    firing, members = them.firing[rows], question.members[rows]
    strata = np.unique(them.strata[rows], return_inverse=True)[1]
    to_strata = sparse.csr_array((np.ones(len(strata)), (strata, np.arange(len(strata)))))
    hits, sizes = (to_strata @ firing).toarray(), np.bincount(strata).astype(np.float64)
    tables = []
    for index in range(len(question.names)):
        a = np.flatnonzero(members[:, [index]].toarray().ravel())
        hits_a = (to_strata[:, a] @ firing[a]).toarray()
        n_a = np.bincount(strata[a], minlength=len(sizes)).astype(np.float64)
        hits_b, n_b = np.maximum(hits - hits_a, 0), sizes - n_a  # sums of shares may differ by a rounding
        total_a, total_b = max(n_a.sum(), 1.0), max(n_b.sum(), 1.0)
        rate_a, rate_b = (np.minimum(h.sum(axis=0) / n, 1) for h, n in ((hits_a, total_a), (hits_b, total_b)))
        diff = rate_difference(rate_a, total_a, rate_b, total_b)
        odds = odds_ratio(hits_a, n_a, hits_b, n_b)
        counts = (np.full(len(rate_a), int(n.sum())) for n in (n_a, n_b))
        tables.append((*counts, rate_a, rate_b, *diff, *odds))
    names = ("n_a", "n_b", "rate_a", "rate_b", "diff", "diff_lo", "diff_hi", "odds_ratio", "or_lo", "or_hi")
    return dict(zip(names, map(np.concatenate, zip(*tables, strict=True)), strict=True))


def _warnings(codes: Sparse, them: Units, question: Question, z: Floats, z_any_length: Floats) -> Any:
    """Say for each group and latent what may be behind it other than meaning."""
    driven = (np.abs(z_any_length) > LENGTH_DRIVEN * np.abs(z)) & (p_value(z_any_length) < LEVEL)
    repeated = one_source = np.zeros(z.shape, bool)
    copied = them.copies >= LEAST_COPIES
    if copied.any():
        fires = (sparse.csr_array(codes) != 0).astype(np.float64)
        copies = sparse.csr_array(fires.multiply((them.copies * copied)[:, None]))
        repeated = _largest_share(copies, fires, sparse.csr_array(question.members[them.unit]), z) > REPEATED
    if them.n_texts.max() > 1:
        hits = sparse.csr_array(them.firing.multiply(them.n_texts[:, None]))
        one_source = _largest_share(hits, hits, question.members, z) > ONE_SOURCE
    words = {"length": driven, "one source": one_source, "repeated text": repeated}
    warning = np.full(z.shape, "", dtype=object)
    for word, where in words.items():
        warning[where] += f"{word}, "
    return np.vectorize(lambda told: told[:-2], otypes=[object])(warning)


def _largest_share(sizes: Sparse, hits: Sparse, members: Sparse, z: Floats) -> Floats:
    """Divide the largest of `sizes` by the sum of `hits`, both `(n, n_latents)`, on the side where a latent is more."""
    inside = (sparse.csr_array(members.T) @ hits).toarray()
    totals = np.where(z > 0, inside, np.asarray(hits.sum(axis=0)) - inside)
    largest = np.empty(z.shape)
    for index in range(len(z)):
        a = members[:, [index]].toarray().ravel() > 0
        of_a, of_rest = (sizes[side].max(axis=0).toarray().ravel() if side.any() else 0 for side in (a, ~a))
        largest[index] = np.where(z[index] > 0, of_a, of_rest)
    return np.asarray(largest / np.maximum(totals, 1e-300))


def _warn_of_separation(question: Question, strata: Ints) -> None:
    """Warn of groups that stand alone in too many strata."""
    sizes = np.bincount(strata)
    for index, name in enumerate(question.names):
        inside = np.bincount(strata, question.members[:, [index]].toarray().ravel(), len(sizes))
        smaller = min((inside, sizes - inside), key=np.sum)
        alone = smaller[smaller == sizes].sum() / smaller.sum()
        if alone > LOST:
            logger.warning(
                "Length and controls separate %r from the rest: %.0f %% of its side has nobody to be compared with",
                *(name, 100 * alone),
            )


def _found_by_chance(ranked: RankedCodes, strata: Ints, question: Question, seed: int) -> int:
    """Count the rows with q < .05 when groups are shuffled within strata."""
    drawn = np.lexsort((np.random.default_rng(seed).random(len(strata)), strata))
    order = np.empty_like(drawn)
    order[np.argsort(strata, kind="stable")] = drawn
    shuffled = question.scores(strata)[order]
    return int((benjamini_hochberg(p_value(ranked.test(shuffled).z)) < LEVEL).sum())

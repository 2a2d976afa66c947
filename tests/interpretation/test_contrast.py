from __future__ import annotations

import logging

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from sae_kedro.errors import InputError
from sae_kedro.interpretation.contrast import contrast, worth_reading
from sae_kedro.interpretation.statistics import benjamini_hochberg, p_value
from sae_kedro.interpretation.told import forest, sentences, summed_up
from sae_kedro.interpretation.units import quantile_bins

PLANTED = 7


def make(n=1200, n_latents=120, seed=0, by_length=False):
    """Codes of texts of different length, which latents of very different density fire on without regard to groups."""
    rng = np.random.default_rng(seed)
    words = np.exp(rng.normal(2, 0.5, n)).astype(int) + 1
    density = 10 ** rng.uniform(-2.5, -0.7, n_latents)
    slope = rng.normal(0, 1, n_latents) * by_length
    fires = rng.random((n, n_latents)) < density * (words[:, None] / 8) ** slope
    codes = sparse.csr_array((fires * (rng.random((n, n_latents)) + 0.1)).astype(np.float32))
    return codes, [f"text {i} " + "word " * words[i] for i in range(n)], rng


def plant(codes, rows, value=1.0, latent=PLANTED):
    codes = sparse.lil_array(codes)
    codes[rows, latent] = value
    return sparse.csr_array(codes)


def test_a_topic_that_was_added_to_a_group_is_found_first():
    codes, texts, rng = make()
    groups = rng.choice(["cards", "loans", "rates"], 1200)
    codes = plant(codes, np.flatnonzero((groups == "loans") & (rng.random(1200) < 0.3)))
    found = contrast(codes, groups, texts=texts, labels={PLANTED: "planted"}, keywords={PLANTED: "a, b"})
    first = found.table.iloc[0]
    assert (first.group, first.latent, first.label, first.keywords) == ("loans", PLANTED, "planted", "a, b")
    assert first.q < 0.01 and first.confirmed and first.warning == ""
    assert first.diff_lo < first.rate_a - first.rate_b < first.diff_hi and first.or_lo > 1 and first.auc > 0.6
    others = found.table[found.table.latent != PLANTED]
    assert not others.confirmed.any() and others.q.min() > 0.05
    assert others.label.iloc[0] == f"latent {others.latent.iloc[0]}"
    assert found.summary["n_q05_shuffled"] == [0] * 20
    assert len(found.table) == found.summary["n_compared"] == 3 * found.summary["n_tested"]


def test_a_rare_latent_of_one_group_alone_comes_first_and_zeros_are_no_hits():
    codes, texts, rng = make()
    groups = rng.choice(["a", "b"], 1200)
    codes = plant(plant(codes, range(1200), 0.0), np.flatnonzero(groups == "b")[:14])
    stored = sparse.csr_array(codes)
    stored.data[rng.random(stored.nnz) < 0.1] = 0  # kept among the entries
    plain = stored.copy()
    plain.eliminate_zeros()
    before = np.random.get_state()[1].copy()
    tables = [contrast(each, groups, texts=texts, n_shuffles=2).table for each in (stored, plain)]
    pd.testing.assert_frame_equal(*tables)
    assert tables[0].latent[0] == PLANTED and tables[0].rate_b[0] == 0
    assert (np.random.get_state()[1] == before).all()


def test_the_other_side_of_the_same_groups_has_the_same_evidence_and_the_opposite_sign():
    codes, texts, rng = make(600, 60)
    groups = rng.choice(["a", "b"], 600)
    a, b = (
        contrast(codes, groups, texts=texts, positive=one, n_shuffles=0).table.set_index("latent").sort_index()
        for one in "ab"
    )
    assert a.z.to_numpy() == pytest.approx(-b.z.to_numpy()) and a.q.to_numpy() == pytest.approx(b.q.to_numpy())
    assert a.diff_lo.to_numpy() == pytest.approx(-b.diff_hi.to_numpy())
    assert a.odds_ratio.to_numpy() == pytest.approx(1 / b.odds_ratio.to_numpy())
    assert a.auc.to_numpy() == pytest.approx(1 - b.auc.to_numpy())


def test_worth_reading_are_discoveries_and_the_strongest_of_each_group():
    rows = [(group, 0.01 if n < found else 0.5, n == 12) for group, found in (("a", 11), ("b", 0)) for n in range(14)]
    kept = worth_reading(pd.DataFrame(rows, columns=["group", "q", "confirmed"]))
    assert kept.index.tolist() == [*range(11), 12, *range(14, 24), 26]


def test_strength_alone_is_found_too():
    codes, texts, rng = make()
    groups = rng.choice(["a", "b"], 1200)
    fires = rng.random(1200) < 0.6
    codes = plant(plant(codes, np.flatnonzero(fires), 0.5), np.flatnonzero(fires & (groups == "b")), 1.0)
    first = contrast(codes, groups, texts=texts).table.iloc[0]
    assert first.latent == PLANTED and first.confirmed and first.auc > 0.55 and first.diff_lo < 0 < first.diff_hi


def test_effects_are_those_of_the_half_that_did_not_choose():
    codes, texts, rng = make()
    groups = rng.choice(["a", "b"], 1200)
    table = contrast(codes, groups, texts=texts).table.set_index("latent")
    from sae_kedro.corpora.base import text_hash
    from sae_kedro.interpretation.units import normalised

    second = np.array([text_hash(normalised(text)) % 2 == 1 for text in texts])
    a, b = (second & (groups == name) for name in "ba")  # of two groups the last in order is set against the other
    rates = [(codes[rows] > 0).sum(axis=0) / rows.sum() for rows in (a, b)]
    assert table.group.unique() == ["b"]
    assert table.n_a.unique() == [a.sum()] and table.n_b.unique() == [b.sum()]
    assert table.rate_a.to_numpy() == pytest.approx(rates[0][table.index])
    assert table.rate_b.to_numpy() == pytest.approx(rates[1][table.index])


@pytest.mark.parametrize("number", [False, True])
def test_the_order_of_rows_and_of_latents_makes_no_difference(number):
    codes, texts, rng = make(600, 60)
    groups = rng.choice(["a", "b", "c"], 600) if not number else rng.normal(size=600)
    rows, latents = rng.permutation(600), rng.permutation(60)
    plain = contrast(codes, groups, texts=texts, number=number, n_shuffles=0)
    moved = contrast(codes[rows][:, latents], groups[rows], texts=[texts[i] for i in rows], number=number, n_shuffles=0)
    moved.table["latent"] = latents[moved.table["latent"]]
    keys = ["group", "latent"]
    a, b = (each.table.drop(columns="label").sort_values(keys, ignore_index=True) for each in (plain, moved))
    pd.testing.assert_frame_equal(a, b, rtol=1e-9)
    assert plain.summary == moved.summary


def test_without_texts_the_codes_tell_rows_apart():
    codes, texts, rng = make(600, 60)
    groups, lengths = rng.choice(["a", "b"], 600), np.array([len(text) for text in texts])
    order = rng.permutation(60)
    plain, moved = (contrast(c, groups, lengths=lengths, n_shuffles=0) for c in (codes, codes[:, order]))
    assert plain.table.z.to_numpy() == pytest.approx(moved.table.z.to_numpy())
    assert plain.table.n_a.iloc[0] == pytest.approx(150, abs=50)


def test_copies_of_a_text_count_once():
    codes, texts, rng = make()
    groups = rng.choice(["a", "b"], 1200)
    spam = sparse.csr_array(([1.0] * 500, ([*range(500)], [PLANTED] * 500)), shape=(500, 120))
    codes = sparse.vstack([plant(codes, np.flatnonzero(rng.random(1200) < 0.05)), spam], format="csr")
    texts, groups = [*texts, *(["Buy  now", "buy now"] * 250)], np.r_[groups, ["b"] * 500]
    found = contrast(codes, groups, texts=texts, n_shuffles=0)
    row = found.table.set_index("latent").loc[PLANTED]
    assert found.summary["n_units"] == 1201
    assert row.q > 0.05 and not row.confirmed
    assert row.warning == ("repeated text" if row.z > 0 else "")


def test_one_author_is_one_unit_and_is_named_where_a_row_is_his():
    codes, texts, rng = make()
    authors, groups = rng.integers(0, 200, 1200), rng.integers(0, 200, 1200)
    groups = np.where(authors % 2, "b", "a")  # every author writes in one group
    prolific = np.flatnonzero(authors == 1)
    more = np.r_[prolific, rng.integers(0, 1200, 5)]
    codes = plant(sparse.vstack([codes, *[codes[prolific]] * 40], format="csr"), [])
    codes = plant(codes, [*more, *range(1200, 1200 + 40 * len(prolific))])
    texts = [*texts, *(f"another {i}" for i in range(40 * len(prolific)))]
    authors = np.r_[authors, [1] * 40 * len(prolific)]
    groups = np.r_[groups, ["b"] * 40 * len(prolific)]
    by_text = contrast(codes, groups, texts=texts, n_shuffles=0).table.set_index("latent").loc[PLANTED]
    found = contrast(codes, groups, texts=texts, units=authors, n_shuffles=0)
    by_author = found.table.set_index("latent").loc[PLANTED]
    assert found.summary["n_units"] == 200
    assert by_text.q < 0.001 and by_author.q > 0.05
    assert by_author.warning.startswith("one source" if by_author.z > 0 else "")


def test_length_explains_what_length_makes():
    codes, texts, rng = make(3000, by_length=True)
    length = np.array([len(text) for text in texts])
    groups = np.where(rng.random(3000) < 1 / (1 + np.exp(-(np.log(length) - np.log(length).mean()) * 3)), "a", "b")
    table = contrast(codes, groups, texts=texts, n_shuffles=0).table
    unadjusted = p_value(table.z_any_length.to_numpy())
    assert (unadjusted < 0.05).mean() > 0.2 and (benjamini_hochberg(unadjusted) < 0.05).sum() > 5
    assert (table.p < 0.05).mean() < 0.1 and (table.q < 0.05).sum() == 0 and not table.confirmed.any()
    assert (table.warning[table.z_any_length.abs() > 5] == "length").mean() > 0.5


def test_controls_are_held_equal():
    codes, texts, rng = make()
    site, year = rng.choice(["x", "y"], 1200), rng.integers(1990, 2020, 1200)
    groups = np.where(rng.random(1200) < np.where(site == "x", 0.8, 0.2), "a", "b")
    codes = plant(codes, np.flatnonzero(site == "x"))
    plain = contrast(codes, groups, texts=texts, n_shuffles=0).table
    held = contrast(codes, groups, texts=texts, n_shuffles=0, controls={"site": site, "year": year}).table
    assert plain.latent[0] == PLANTED and plain.q[0] < 1e-6
    assert held.set_index("latent").q[PLANTED] > 0.05 and (held.z_any_length.abs() < 6).all()


def test_controls_that_separate_the_groups_are_warned_of(caplog):
    codes, texts, rng = make(600, 60)
    groups = rng.choice(["a", "b"], 600)
    with caplog.at_level(logging.WARNING):
        contrast(codes, groups, texts=texts, n_shuffles=0, controls={"copy": groups})
    assert "separate 'b' from the rest: 100 % of its side has nobody" in caplog.text


def test_a_number_that_a_latent_follows():
    codes, texts, rng = make()
    price = np.exp(rng.normal(size=1200))
    codes = plant(codes, np.flatnonzero(price + rng.normal(size=1200) > 1.5))
    found = contrast(codes, price, texts=texts, number=True, n_shuffles=0)
    first = found.table.iloc[0]
    assert first.latent == PLANTED and first.confirmed and first.q < 0.001
    assert first.group == f"above {np.median(price):.6g}" and first.rate_a > first.rate_b and first.or_lo > 1


def test_rows_without_a_group_are_left_out_and_small_classes_are_part_of_the_rest(caplog):
    codes, texts, rng = make()
    groups = rng.choice(["a", "b", "c"], 1200).astype(object)
    groups[:100], groups[100], groups[101], groups[102:106] = None, float("nan"), " ", "rare"
    with caplog.at_level(logging.WARNING):
        found = contrast(codes, groups, texts=texts, n_shuffles=0)
    assert found.summary["n_rows"] == 1098 and found.summary["groups"] == ["a", "b", "c"]
    assert "102 of 1200 rows have no value to compare by" in caplog.text
    assert (
        "1 classes have fewer than 10 different texts and are only part of the rest, such as 'rare' with 4"
        in caplog.text
    )
    only = contrast(codes, groups, texts=texts, positive="b", n_shuffles=0)
    assert (
        only.summary["groups"] == ["b"]
        and only.table.n_a[0] + only.table.n_b[0] == found.table.n_a[0] + found.table.n_b[0]
    )


def _wrong(codes=None, groups=("a", "b") * 50, **options):
    codes = sparse.csr_array(np.ones((100, 3))) if codes is None else codes
    with pytest.raises(InputError) as caught:
        contrast(codes, groups, **options)
    return str(caught.value)


def test_bad_input_ends_in_a_sentence():
    texts = [f"text {i}" for i in range(100)]
    assert _wrong(groups=["a"] * 100) == "groups need at least two classes; there is only 'a'"
    assert _wrong(groups=[None] * 100) == "groups need at least two classes; there is none"
    ids = _wrong(sparse.csr_array(np.ones((10_000, 2))), [f"id {i}" for i in range(10_000)])
    assert ids.startswith(
        "groups have 10000 classes, of which 0 have 10 different texts; from 2 to 500 can be compared"
    )
    many = _wrong(
        sparse.csr_array(np.ones((10_000, 2))), [i % 900 for i in range(10_000)], texts=list(map(str, range(10_000)))
    )
    assert many.startswith("groups have 900 classes, of which 900 have")
    assert (
        _wrong(groups=["a"] * 99 + ["b"], texts=texts)
        == "a group needs 10 different texts or units to be compared; 'b' has 1"
    )
    assert _wrong(texts=["same"] * 100) == "a group needs 10 different texts or units to be compared; 'a' has 1"
    assert _wrong(groups=["a"] * 99) == "groups needs a value for each of 100 rows of codes; it has 99"
    assert _wrong(texts=texts[:9]) == "texts needs a value for each of 100 rows of codes; it has 9"
    assert _wrong(positive="A", texts=texts) == "positive='A' is none of the 2 classes; did you mean 'a'?"
    assert _wrong(texts=texts, controls={"id": texts}).startswith(
        "the control 'id' has 100 values (such as 'text 0'); at most 50"
    )
    assert _wrong(number=True) == "the target must hold finite numbers; row 0 is 'a'"
    assert _wrong(number=True, groups=[3] * 100) == "the target needs two different numbers; its 100 rows have 1"
    silent = sparse.csr_array((100, 3))
    assert _wrong(silent, texts=texts) == "no latent fires on 10 of the 100 different texts; compare more texts"
    bad = sparse.csr_array(np.where(np.arange(300).reshape(100, 3) == 100, np.nan, 1))
    assert _wrong(bad, texts=texts) == "codes must be finite; row 33 holds nan"


def test_controls_that_leave_nobody_to_compare_with_are_refused():
    controls = {name: np.arange(3000) // step % 50 for name, step in {"a": 1, "b": 50}.items()}
    columns = {name: pd.Series(column).astype(str) for name, column in controls.items()}
    told = _wrong(
        sparse.csr_array(np.ones((3000, 1))), ["a", "b"] * 1500, texts=list(map(str, range(3000))), controls=columns
    )
    assert told == "controls and length make 3000 strata of 3000 texts; hold fewer controls equal"


def test_dead_and_rare_latents_are_counted_and_never_listed():
    codes, texts, rng = make(400, 20)
    rare = plant(plant(codes, range(400), 0, 3), range(400), 0, 4)
    rare = plant(rare, range(9), 5.0, 4)  # nine texts of one group, and strong
    groups = np.r_[["a"] * 9, rng.choice(["a", "b"], 391)]
    found = contrast(rare, groups, texts=texts, n_shuffles=0)
    assert not set(found.table["latent"]) & {3, 4}
    assert found.summary["n_tested"] + found.summary["n_too_rare"] == 20
    assert found.table.notna().all(axis=None) and np.isfinite(found.table["or_hi"]).all()


def test_what_was_found_is_told_in_sentences():
    row = {
        "label": "card, payment",
        "warning": "",
        "confirmed": True,
        "odds_ratio": 20.0,
        "or_lo": 9.0,
        "or_hi": 40.0,
        "z": 4.0,
    }
    rows = [
        ("cards", 0.28, 0.02, 1e-9, {}),
        ("cards", 0.04, 0.1, 0.012, {"warning": "length"}),
        ("cards", 0.0, 0.2, 0.04, {}),
        ("cards", 0.2, 0.0, 0.04, {}),
        ("cards", 0.22, 0.2, 0.04, {}),
        ("cards", 0.5, 0.1, 0.2, {"confirmed": False}),
    ]
    table = pd.DataFrame([{**row, "group": g, "rate_a": a, "rate_b": b, "q": q, **more} for g, a, b, q, more in rows])
    assert sentences(table, what="questions about {}") == [
        "questions about cards fire 'card, payment' 14 times as often (28 % against 2.0 %), q < .001",
        "questions about cards fire 'card, payment' 0.40 times as often (4.0 % against 10 %), q = .012; beware: length",
        "questions about cards never fire 'card, payment', and others do (0 % against 20 %), q = .040",
        "questions about cards alone fire 'card, payment' (20 % against 0 %), q = .040",
        "questions about cards fire 'card, payment' a little more (22 % against 20 %), q = .040",
    ]
    loans = table.assign(group="loans", odds_ratio=2.0)
    both = pd.concat([table, loans], ignore_index=True)
    assert [line.split()[2] for line in sentences(both, 5)] == ["cards", "loans"] * 2 + ["cards"]
    assert list(forest(both, 2).data[0].x) == [2.0, 20.0]  # of each group its first
    assert forest(both, 2).layout.yaxis.ticktext[1] == "cards: card, payment"
    summary = {"n_compared": 1200, "n_tested": 400, "groups": list("abc"), "n_q05": 30, "n_confirmed": 9}
    assert summed_up(summary | {"n_q05_shuffled": [0, 2, 0]}) == (
        "1,200 comparisons (400 latents, 3 groups, each against the rest): 30 have q < .05, 9 are confirmed; "
        "with groups shuffled 3 times, at most 2 have q < .05"
    )
    plot = forest(table)
    assert list(plot.data[0].x) == [20.0] * 6 and plot.data[0].error_x.arrayminus[0] == 11
    assert list(plot.data[0].marker.symbol) == ["circle-open", *["circle"] * 5]  # the first row is on top
    assert plot.layout.yaxis.ticktext[0] == "card, payment" and plot.layout.xaxis.type == "log"


def test_quantiles_never_part_equal_values():
    bins = quantile_bins(np.array([1.0, 1, 1, 1, 2, 3, 4, 5]), 4)
    assert len(set(bins[:4].tolist())) == 1 and bins.tolist() == sorted(bins.tolist())


@pytest.mark.parametrize("n", [8, pytest.param(200, marks=pytest.mark.fuzz)])
@pytest.mark.parametrize("by_length", [False, True])
@pytest.mark.parametrize("n_groups", [2, 40])
def test_shuffled_groups_are_told_apart_at_most_once_in_twenty_times(n, by_length, n_groups):
    codes, texts, _ = make(2000, by_length=by_length)
    length = np.log([len(text) for text in texts])
    found = confirmed = 0
    for seed in range(n):
        rng = np.random.default_rng(seed)
        score = (length - length.mean()) / length.std() * by_length + rng.gumbel(size=2000)
        groups = np.argsort(np.argsort(score)) * n_groups // 2000
        summary = contrast(codes, groups.astype(str), texts=texts, n_shuffles=0).summary
        found, confirmed = found + (summary["n_q05"] > 0), confirmed + summary["n_confirmed"]
    assert found <= max(2, 0.05 * n + 2 * np.sqrt(0.05 * 0.95 * n)) and confirmed <= max(1, 0.01 * n)

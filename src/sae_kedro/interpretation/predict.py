"""The smallest stable set of features that tells a target, what it gains on unseen texts, and what it misses."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse
from scipy.stats import rankdata
from sklearn.linear_model import LassoCV, LogisticRegression, Ridge, lasso_path
from tqdm.auto import tqdm

from sae_kedro.errors import InputError
from sae_kedro.evaluation.probes import MAX_ITERATIONS, PENALTIES, TOLERANCE
from sae_kedro.interpretation.statistics import CONFIDENT, Floats, Ints, RankedCodes, Sparse
from sae_kedro.interpretation.targets import Asked, Question, ask
from sae_kedro.interpretation.units import Bools, Column

logger = logging.getLogger(__name__)

SCREENED = 100
"""Latents of each group, by |z| of the rank test, among which a set is chosen."""
N_HALVES, STABLE = 50, 0.8
"""Half samples that a set is chosen on again, and the share of them that must choose a latent (Meinshausen and Bühlmann
2010). At a share of .6, 2 of 30 shuffled targets had a feature chosen, at .7 or more none."""
N_FOLDS, LASSO_ITERATIONS = 5, 10_000
LEAKY = 0.995
"""From this AUROC on, a target is more likely to be written in the texts than to be told by their meaning."""


class Prediction(NamedTuple):
    """What predicts a target."""

    features: pd.DataFrame
    """A row for each group and chosen latent, the largest weight first: `group`, `latent`, `label`, `weight`, `chosen`
    (the share of half samples that chose it)."""
    scores: pd.DataFrame
    """A row for each kind of `inputs`: `n_inputs`; `score` with `low` and `high`; and what it adds to length and
    controls alone, `gain` with `gain_lo` and `gain_hi`."""
    summary: dict[str, Any]
    """`measure`, `n_units`, `n_features`, `gain` of the features, and `missed`: the best score less theirs."""


def predict(
    codes: Sparse,
    target: Column,
    *,
    texts: Sequence[str] | None = None,
    lengths: Column | None = None,
    controls: Mapping[str, Column] | pd.DataFrame | None = None,
    units: Column | None = None,
    vectors: NDArray[np.float32] | None = None,
    labels: Mapping[int, str] | None = None,
    positive: str | None = None,
    number: bool = False,
) -> Prediction:
    """Find the fewest latents that tell a target, and score them on texts that had no part in it.

    In the discovery half (that of `contrast`), and for each group, a lasso is fitted within strata of length and
    controls, whose effects are so not penalised, with the strongest penalty whose error is within a standard error of
    the least in cross-validation; latents that at least 80 % of 50 half samples choose are the set. Logistic (for a
    number: ridge) regressions on length and controls alone, with the set, with all codes and with the embedding are
    fitted on the same half and scored on the other: by AUROC, over groups the mean, or for a number by R². Intervals
    are those of DeLong (1988), for means over groups, differences and R², too.

    Args:
        codes: `(n, dict_size)`.
        target: `(n,)`: the class of each row, or its number; rows without one are left out.
        texts: `(n,)`, as for `contrast`.
        lengths: `(n,)`, as for `contrast`.
        controls: Columns `(n,)` by name, as for `contrast`.
        units: `(n,)`, as for `contrast`.
        vectors: `(n, act_size)`: the embeddings.
        labels: Names of latents.
        positive: The only class to predict.
        number: Whether the target is a number.

    Raises:
        InputError: A column does not fit the codes, there are too few or too many groups, or too few texts.
    """
    if vectors is not None and len(vectors) != codes.shape[0]:
        raise InputError(f"vectors need a row for each of {codes.shape[0]} rows of codes; there are {len(vectors)}")
    asked = ask(
        codes,
        target,
        texts=texts,
        lengths=lengths,
        controls=controls,
        units=units,
        positive=positive,
        number=number,
    )
    them, question = asked.units, asked.question
    _refuse_few(asked)
    largest = np.maximum(np.abs(them.codes).max(axis=0).toarray().ravel(), 1e-30)
    scaled = sparse.csr_array(them.codes @ sparse.diags_array(1 / largest))
    chosen = _chosen(asked, scaled)
    used = np.unique(np.concatenate([columns for columns, _, _ in chosen]))
    strata = sparse.csr_array((np.ones(len(them.strata)), (np.arange(len(them.strata)), them.strata)))
    inputs: dict[str, Any] = {"length and controls": strata}
    inputs["and the features"] = sparse.hstack([strata, _unit_size(scaled[:, used])], format="csr")
    inputs["and all codes"] = sparse.hstack([strata, _unit_size(scaled)], format="csr")
    if vectors is not None:
        means = them.members @ np.asarray(vectors, np.float64)[asked.rows]
        inputs["and the embedding"] = np.hstack([strata.toarray(), _unit_size(means)])
    scores = _scores(inputs, question, them.discovery, them.hashes)
    if not number and len(question.names) == 1 and scores["score"].iloc[1] > LEAKY:
        logger.warning("AUROC of the features is above %s; is the target written in the texts?", LEAKY)
    features = pd.DataFrame(
        {
            "group": np.repeat(question.names, [len(columns) for columns, _, _ in chosen]),
            "latent": asked.latents[np.concatenate([columns for columns, _, _ in chosen])],
            "weight": np.concatenate([weights for _, weights, _ in chosen]),
            "chosen": np.concatenate([shares for _, _, shares in chosen]),
        }
    )
    features.insert(2, "label", [(labels or {}).get(latent, f"latent {latent}") for latent in features["latent"]])
    summary = {
        "measure": "r2" if number else "auroc",
        "n_units": len(them.strata),
        "n_features": len(used),
        "gain": float(scores["gain"].iloc[1]),
        "missed": float(scores["score"].iloc[2:].max() - scores["score"].iloc[1]),
    }
    return Prediction(features, scores, summary)


def _refuse_few(asked: Asked) -> None:
    """Refuse texts too few for every part that is fitted or scored on to have something to tell apart."""
    classes, first = _classes(asked.question), asked.units.discovery
    held_back = _fold(asked.units.hashes) == 0
    for part in (first & held_back, first & ~held_back, ~first):
        if len(np.unique(classes[part])) < 2:
            raise InputError(
                f"{len(classes)} different texts are too few to learn from one half and score on the other; the groups "
                "need some in every tenth of them"
            )


def _classes(question: Question) -> Ints:
    """Return the number of each unit's group, and -1 for the rest."""
    rest = question.members.sum(axis=1) == 0
    return np.where(rest, -1, question.members.argmax(axis=1).ravel()).astype(np.int64)


def _fold(hashes: NDArray[np.uint64]) -> Ints:
    return (hashes // 2 % N_FOLDS).astype(np.int64)


def _chosen(asked: Asked, scaled: sparse.csr_array) -> list[tuple[Ints, Floats, Floats]]:
    """Return the stable columns of each group, their weights and how often half samples chose them."""
    half = asked.units.discovery
    hashes, question = asked.units.hashes[half], asked.question.take(half)
    strata = np.unique(asked.units.strata[half], return_inverse=True)[1]
    z = RankedCodes(asked.units.codes[half], strata).test(question.scores(strata)).z
    columns, values = sparse.csc_array(scaled[half]), question.values
    targets = question.members.toarray() if values is None else (values / (values.std() or 1))[:, None]
    chosen = []
    n_groups = len(question.names)
    for index in tqdm(range(n_groups), unit=" groups", desc="Choosing features", disable=n_groups == 1):
        candidates = np.argsort(-np.abs(z[index]), kind="stable")[:SCREENED]
        x = _within(columns[:, candidates].toarray(), strata)
        y = _within(targets[:, [index]], strata).ravel()
        weights, shares = _stable_lasso(x, y, hashes)
        kept = np.flatnonzero((shares >= STABLE) & (weights != 0))
        kept = kept[np.argsort(-np.abs(weights[kept]), kind="stable")]
        chosen.append((candidates[kept].astype(np.int64), weights[kept], shares[kept]))
    return chosen


def _stable_lasso(x: Floats, y: Floats, hashes: NDArray[np.uint64]) -> tuple[Floats, Floats]:
    """Return the weights of a sparse fit, and the share of half samples that choose each column: `(n_columns,)`."""
    fold = _fold(hashes)
    folds = [(np.flatnonzero(fold != f), np.flatnonzero(fold == f)) for f in np.unique(fold)]
    path = LassoCV(cv=folds, fit_intercept=False, alphas=50, precompute=True, max_iter=LASSO_ITERATIONS).fit(x, y)
    error, noise = path.mse_path_.mean(axis=1), path.mse_path_.std(axis=1, ddof=1) / np.sqrt(len(folds))
    best = int(error.argmin())
    alpha = path.alphas_[error <= error[best] + noise[best]].max()
    weights = lasso_path(x, y, alphas=[alpha], max_iter=LASSO_ITERATIONS)[1][:, 0]
    draws, order = np.random.default_rng(0), np.argsort(hashes, kind="stable")
    times = np.zeros(x.shape[1])
    for _ in range(N_HALVES):
        rows = order[draws.permutation(len(order))[: len(order) // 2]]
        again = lasso_path(x[rows], y[rows], alphas=[alpha], max_iter=LASSO_ITERATIONS)[1][:, 0]
        times += again * weights > 0
    return weights, times / N_HALVES


def _within(x: Floats, strata: Ints) -> Floats:
    """Take the mean of its stratum from each row."""
    sizes = np.bincount(strata)
    to_strata = sparse.csr_array((np.ones(len(strata)), (strata, np.arange(len(strata)))))
    return np.asarray(x - ((to_strata @ x) / sizes[:, None])[strata])


def _unit_size(x: Any) -> Any:
    """Divide a sparse or a NumPy array by one number so that the squared norm of rows is 1 on average."""
    values = x.data if sparse.issparse(x) else x
    return x / (np.sqrt((values**2).sum() / x.shape[0]) or 1.0)


def _scores(inputs: Mapping[str, Any], question: Question, learning: Bools, hashes: NDArray[np.uint64]) -> pd.DataFrame:
    """Fit on one half and score on the other, for each kind of inputs."""
    rows, base = [], None
    testing = question.take(~learning)
    for name, x in inputs.items():
        predicted = _predicted(x[learning], question.take(learning), x[~learning], hashes[learning])
        score, influence = score_with_influence(predicted, testing)
        base = (score, influence) if base is None else base
        gain, doubt = score - base[0], CONFIDENT * _standard_error(influence - base[1])
        half = CONFIDENT * _standard_error(influence)
        rows.append((name, x.shape[1], score, score - half, min(score + half, 1.0), gain, gain - doubt, gain + doubt))
    names = ("inputs", "n_inputs", "score", "low", "high", "gain", "gain_lo", "gain_hi")
    return pd.DataFrame(rows, columns=names)


def _predicted(x: Any, question: Question, unseen: Any, hashes: NDArray[np.uint64]) -> Floats:
    """Fit with the penalty that predicts best on a fifth, and return scores of unseen rows: `(n_unseen, n_groups)`."""
    held_back = _fold(hashes) == 0

    def fitted(rows: Bools, penalty: float, other: Any) -> Floats:
        part = question.take(rows)
        if part.values is not None:
            mean = part.values.mean()
            model = Ridge(alpha=1 / penalty, solver="lsqr", fit_intercept=False).fit(x[rows], part.values - mean)
            return np.asarray(model.predict(other) + mean)[:, None]
        model = LogisticRegression(C=penalty, tol=TOLERANCE, max_iter=MAX_ITERATIONS).fit(x[rows], _classes(part))
        margins = model.decision_function(other)
        if margins.ndim == 1:
            margins = np.stack([-margins, margins], axis=1)
        scores = np.full((other.shape[0], len(part.names)), margins.min() - 1)  # a class that these rows lack
        known = model.classes_ >= 0
        scores[:, model.classes_[known]] = margins[:, known]
        return scores

    quality = [
        score_with_influence(fitted(~held_back, penalty, x[held_back]), question.take(held_back))[0]
        for penalty in PENALTIES
    ]
    return fitted(np.ones(len(hashes), bool), PENALTIES[int(np.argmax(quality))], unseen)


def score_with_influence(predicted: Floats, question: Question) -> tuple[float, Floats]:
    """Return R² of a number or the mean AUROC of groups, and what each unit adds to it about its mean.

    Args:
        predicted: `(n_units, n_groups)`, or `(n_units, 1)` of a number.
        question: What is true.
    """
    n = len(predicted)
    if question.values is not None:
        squares, errors = (question.values - question.values.mean()) ** 2, (question.values - predicted[:, 0]) ** 2
        lost = errors.mean() / squares.mean()
        return float(1 - lost), (lost * squares - errors) / squares.mean()
    scores, influence = [], np.zeros(n)
    members = question.members.toarray() > 0
    for index in range(members.shape[1]):
        a = members[:, index]
        n_a, n_b = int(a.sum()), int((~a).sum())
        if not n_a or not n_b:
            continue
        ranks = rankdata(predicted[:, index])
        above = np.empty(n)  # for members the share of the rest below them, for the rest that of members above them
        above[a] = (ranks[a] - rankdata(predicted[a, index])) / n_b
        above[~a] = 1 - (ranks[~a] - rankdata(predicted[~a, index])) / n_a
        scores.append(above[a].mean())
        influence += (above - scores[-1]) * n / np.where(a, n_a, n_b)
    return float(np.mean(scores)), influence / len(scores)


def _standard_error(influence: Floats) -> float:
    return float(influence.std(ddof=1) / np.sqrt(len(influence)))

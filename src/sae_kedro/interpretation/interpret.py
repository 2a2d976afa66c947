"""What all latents of an SAE stand for, from texts and their codes, without a language model."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import xxhash
from numpy.typing import NDArray
from scipy import sparse

from sae_kedro.errors import InputError, shown
from sae_kedro.evaluation.bootstrap import mean_intervals
from sae_kedro.evaluation.measures.stability import found_again
from sae_kedro.interpretation.families import find_families
from sae_kedro.interpretation.features import Features
from sae_kedro.interpretation.keywords import SCORED, SHOWN, STEPS
from sae_kedro.interpretation.labels import Corpus, Encode, Labels, label_latents
from sae_kedro.interpretation.scores import active_texts
from sae_kedro.interpretation.together import Pairs, pairs_together, together_table
from sae_kedro.interpretation.words import Tokens
from sae_kedro.sae.base import SAE
from sae_kedro.sae.io import weights_digest

Floats = NDArray[np.floating[Any]]

FEWEST_TEXTS = 50
N_NEAREST, N_TOP, N_TITLE = 5, 5, 2
ROWS = 65_536


def interpret(
    sae: SAE,
    codes: sparse.csr_array,
    texts: Sequence[str] | None,
    vectors: Floats | None = None,
    encode: Encode | None = None,
    tokens: Tokens | None = None,
    other_seed: SAE | None = None,
) -> Features:
    """Say what each latent stands for, how well that holds on other texts, and what it is related to.

    Half of the texts makes labels, the other half scores them; duplicates are in one half only.

    Args:
        sae: The SAE.
        codes: `(n, dict_size)`, as `sae.transform` gives them.
        texts: `n` texts, at least 50; None: there are none, and no latent has a label.
        vectors: `(n, act_size)`: their embeddings; None: the reconstructions stand in.
        encode: Gives the embeddings of words, by the model of the SAE; None: a word's is the mean of its texts.
        tokens: What cuts a text into words; None: runs of at least two letters or digits, as in scikit-learn. Scripts
            without blanks between words need one.
        other_seed: An SAE that was trained with another seed; `stability` then says how near its nearest direction is.

    Raises:
        InputError: Texts, codes, embeddings and SAE do not fit together, or there are not enough texts with words.
    """
    start = time.perf_counter()
    corpus, order = arranged(sae, codes, texts, vectors)
    codes, directions = corpus.codes, corpus.directions
    labels = label_latents(corpus, encode, tokens)
    table = _table(corpus, labels)
    pairs = pairs_together(codes)
    families = find_families(pairs)
    for column, latents in families._asdict().items():
        table[column] = np.where(latents >= 0, order[latents], -1)
    table["nearest"], table["nearest_cosine"] = _nearest(directions, order)
    table["fires_with"], table["fires_with_lift"] = _company(pairs, order)
    together = together_table(
        pairs,
        directions,
        labels.meanings,
        [label or f"latent {o}" for label, o in zip(table["label"], order, strict=True)],
    )
    for side in ("latent_a", "latent_b"):
        together[side] = order[together[side]]
    table["density_in_training"] = sae.density.float().cpu().numpy()[order].astype(np.float64)
    if other_seed is not None:
        table["stability"] = found_again(sae.W_dec.cpu(), other_seed.W_dec.cpu()).numpy()[order].astype(np.float64)
    table.insert(0, "latent", order)
    table = table.sort_values("latent", ignore_index=True)
    return Features(table, weights_digest(sae), together, summary(table) | {"seconds": time.perf_counter() - start})


def arranged(
    sae: SAE, codes: sparse.csr_array, texts: Sequence[str] | None, vectors: Floats | None = None
) -> tuple[Corpus, NDArray[np.int64]]:
    """Put latents into an order that follows from what they are, so that another order changes no sum.

    Args:
        sae: The SAE.
        codes: `(n, dict_size)`.
        texts: `n` texts, or None.
        vectors: `(n, act_size)`: their embeddings; None: the reconstructions stand in.

    Returns:
        The corpus, and which latent is where in it `(dict_size,)`.

    Raises:
        InputError: Texts, codes, embeddings and SAE do not fit together.
    """
    _check(sae, codes, texts, vectors)
    directions = sae.W_dec.detach().float().cpu().numpy()
    directions = directions / np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), 1e-12)
    order = np.argsort([xxhash.xxh64_intdigest(row.tobytes()) for row in directions], kind="stable")
    place = np.argsort(order)
    codes = sparse.csr_array((np.maximum(codes.data, 0), place[codes.indices], codes.indptr), shape=codes.shape)
    codes.sort_indices()
    codes.eliminate_zeros()
    directions = directions[order]
    vectors = _centred(codes @ directions if vectors is None else vectors)
    return Corpus(texts, codes, vectors, directions), order


def summary(table: pd.DataFrame) -> dict[str, Any]:
    """Sum up the scores of all latents: means, and how many have a label, or why they have none."""
    means = ["label_auroc", "label_auroc_15", "floor_auroc", "nearest_auroc", "centroid_auroc", "cohesion"]
    means += ["stability"] if "stability" in table else []
    scored = table.loc[table["status"] == "labelled"]
    interval = mean_intervals({"label_auroc_ci95": scored["label_auroc"].to_numpy()}) if len(scored) else {}
    return {
        "n_labelled": len(scored),
        "n_rare": int((table["status"] == "rare").sum()),
        "n_dead": int((table["status"] == "dead").sum()),
        "n_wordless": int((table["status"] == "wordless").sum()),
        **{name: float(scored[name].mean()) if len(scored) else None for name in means},
        **interval,
        "share_above_075": float((scored["label_auroc"] > 0.75).mean()) if len(scored) else None,
    }


def _check(sae: SAE, codes: sparse.csr_array, texts: Sequence[str] | None, vectors: Floats | None) -> None:
    if codes.ndim != 2 or codes.shape[1] != sae.dict_size:
        raise InputError(
            f"codes of shape {tuple(codes.shape)} are not of this SAE, which has dict_size={sae.dict_size}"
        )
    if vectors is not None and vectors.shape != (codes.shape[0], sae.act_size):
        raise InputError(
            f"embeddings of shape {tuple(vectors.shape)} do not fit {codes.shape[0]} rows of codes of an SAE of "
            f"act_size={sae.act_size}; pass those that the codes were made from"
        )
    if texts is not None:
        _check_texts(texts, codes.shape[0])
    if not np.isfinite(codes.data).all() or (vectors is not None and not np.isfinite(vectors).all()):
        raise InputError("labels need codes and embeddings that are finite; leave out rows that are not")


def _check_texts(texts: Sequence[str], n: int) -> None:
    if len(texts) != n:
        raise InputError(f"labels need one text per row of codes; there are {len(texts)} and {n}")
    if n < FEWEST_TEXTS:
        raise InputError(f"labels need at least {FEWEST_TEXTS} texts; there are {n}")
    odd = next((row for row, text in enumerate(texts) if not isinstance(text, str)), None)
    if odd is not None:
        raise InputError(f"labels need texts; row {odd} has {shown(texts[odd])}")


def _centred(vectors: Floats) -> Floats:
    """Take the mean away and scale rows to norm 1, some at a time: a million rows need room once."""
    mean = vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
    centred = np.empty(vectors.shape, dtype=np.float32)
    for start in range(0, len(vectors), ROWS):
        rows = np.asarray(vectors[start : start + ROWS], dtype=np.float32) - mean
        centred[start : start + ROWS] = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return centred


def _table(corpus: Corpus, labels: Labels) -> pd.DataFrame:
    """Make a row per latent of what follows from it alone."""
    columns = sparse.csc_array(corpus.codes)
    n_texts = np.diff(columns.indptr)
    names, (places, weights, shown_as) = labels.names, labels.chosen
    scored = np.isfinite(labels.columns["label_auroc"])
    status = np.select([n_texts == 0, scored, places[:, 0] < 0], ["dead", "labelled", "wordless"], "rare")
    enough = np.array([labels.examined[latent] for latent in range(len(n_texts))])
    status = np.where((status == "wordless") & ~enough, "rare", status)
    keywords = [
        [names[place] for place in row if place >= 0] if ok else [] for row, ok in zip(shown_as, scored, strict=True)
    ]
    active = [active_texts(columns, latent) for latent in range(len(n_texts))]
    return pd.DataFrame(
        {
            "label": titles(keywords),
            "keywords": [", ".join(row[:SHOWN]) or None for row in keywords],
            "status": status,
            **labels.columns,
            "density": n_texts / corpus.codes.shape[0],
            "n_texts": n_texts,
            "max_act": [
                float(columns.data[columns.indptr[f] : columns.indptr[f + 1]].max(initial=0))
                for f in range(len(n_texts))
            ],
            "patterns": [
                [names[place] for place in row if place >= 0] if ok else []
                for row, ok in zip(places, scored, strict=True)
            ],
            "weights": [(row[row > 0] / STEPS).tolist() if ok else [] for row, ok in zip(weights, scored, strict=True)],
            "direction_words": labels.direction_words,
            "typical_text": [_typical(corpus, rows) for rows in active],
            "top_rows": [rows[:N_TOP].tolist() for rows in active],
            "top_texts": [_texts(corpus, rows[:N_TOP]) for rows in active],
            "decile_rows": [
                [int(part[len(part) // 2]) for part in np.array_split(rows, 10) if len(part)] for rows in active
            ],
        }
    )


def titles(keywords: list[list[str]]) -> list[str | None]:
    """Name latents by their first keywords, whole words first: two of them, or more where two latents share those."""
    found: list[str | None] = []
    taken: set[str] = set()
    for row in keywords:
        words = sorted(row, key=lambda word: "*" in word)[:SCORED]  # stable: in the order in which they were chosen
        names = [", ".join(words[:n]) for n in range(min(N_TITLE, len(words)), len(words) + 1)]
        name = next((name for name in names if name not in taken), names[0]) if words else None
        taken.add(name or "")
        found.append(name)
    return found


def _typical(corpus: Corpus, active: NDArray[np.int64]) -> str | None:
    """Return, of the strongest tenth of a latent's texts, the one nearest to their mean."""
    if not len(active) or corpus.texts is None:
        return None
    best = active[: max(5, min(len(active) // 10, 200))]
    closeness = corpus.vectors[best] @ corpus.vectors[best].mean(axis=0)
    return _texts(corpus, best[[closeness.argmax()]])[0]


def _texts(corpus: Corpus, rows: NDArray[np.int64]) -> list[str]:
    return [] if corpus.texts is None else [_short(corpus.texts[row]) for row in rows]


def _short(text: str, longest: int = 300) -> str:
    return text if len(text) <= longest else text[: longest - 3] + "..."


def _nearest(directions: Floats, order: NDArray[np.int64]) -> tuple[list[list[int]], list[list[float]]]:
    latents, cosines = [], []
    for start in range(0, len(directions), 256):
        block = directions[start : start + 256] @ directions.T
        block[np.arange(len(block)), start + np.arange(len(block))] = -np.inf
        near = np.argsort(-block, axis=1, kind="stable")[:, : min(N_NEAREST, len(directions) - 1)]
        latents += order[near].tolist()
        cosines += np.take_along_axis(block, near, axis=1).astype(float).tolist()
    return latents, cosines


def _company(pairs: Pairs, order: NDArray[np.int64]) -> tuple[list[list[int]], list[list[float]]]:
    """List, for each latent, those that fire with it far more often than by chance, and how many times as often."""
    npmi, lift = pairs.npmi, pairs.lift
    a, b = np.concatenate([pairs.a, pairs.b]), np.concatenate([pairs.b, pairs.a])
    strength, times = np.tile(npmi, 2), np.tile(lift, 2)
    best = np.lexsort((b, -strength, a))
    starts = np.searchsorted(a[best], np.arange(len(order) + 1))
    rows = [best[start : min(start + N_NEAREST, end)] for start, end in pairwise(starts)]
    return [order[b[row]].tolist() for row in rows], [times[row].tolist() for row in rows]

"""What each ingredient of labels gains: `python -m benchmarks.ingredients FOLDER` writes `results/ingredients.*`.

Keywords are made from one half of a corpus and scored on the other, for the same latents and the same texts whatever
they are made by. Every ingredient is added to those before it.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from benchmarks.ours import embedded, trained
from benchmarks.run import HERE
from sae_kedro.interpretation import keywords, words
from sae_kedro.interpretation.halves import halves
from sae_kedro.interpretation.interpret import _centred
from sae_kedro.interpretation.keywords import SCORED, SHOWN
from sae_kedro.interpretation.labels import BLOCK, MAKING, SCORING, SHRINK
from sae_kedro.interpretation.scores import NEAR, POSITIVE, RANDOM, Examples, annotate, chance_above, draw_examples
from sae_kedro.interpretation.words import Vocabulary, read_vocabulary

CORPORA = {"arxiv_titles": 60_000, "wordnet_glosses": 60_000, "arxiv_abstracts": 20_000}
"""Texts of each."""
NEVER = 2.0
"""A cosine that no two forms have: they are not one word."""
Array = NDArray[Any]
Rows = list[dict[str, Any]]


class Recipe(NamedTuple):
    """What labels are made by; the defaults are those of the library."""

    name: str
    min_texts: int = words.MIN_TEXTS
    same_word: float = words.SAME_WORD
    kinds: str = "parts"
    """The longest list of what keywords may be: `words`, `pairs` too, or `parts` of words, too."""
    strongest: float = 1.0
    """Share of a latent's texts that count for c-TF-IDF."""
    chosen: bool = True
    """Whether keywords are chosen together; else they are the first by c-TF-IDF."""
    by_direction: int = keywords.SHORT_LIST_BY_DIRECTION


RECIPES = (
    Recipe("c-TF-IDF of the strongest tenth, words in 5 texts", 5, NEVER, "words", 0.1, chosen=False),
    Recipe("+ all texts on which a latent fires", 5, NEVER, "words", chosen=False),
    Recipe("+ words in 2 texts", same_word=NEVER, kinds="words", chosen=False),
    Recipe("+ inflections are one word", kinds="words", chosen=False),
    Recipe("+ chosen together by AUROC", kinds="words", by_direction=0),
    Recipe("+ pairs of words", kinds="pairs", by_direction=0),
    Recipe("+ parts of words", by_direction=0),
    Recipe("+ words of the decoder direction: our labels"),
)


class Side(NamedTuple):
    """One half of a corpus."""

    texts: list[str]
    vectors: Array
    codes: sparse.csc_array


def main() -> None:
    """Train an SAE on each corpus, label some of its latents in every way, and write the scores."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="holds NAME.jsonl.gz of the corpora")
    parser.add_argument("--corpora", nargs="*", default=list(CORPORA))
    parser.add_argument("--n-latents", type=int, default=768, help="of 3,072, drawn by chance")
    parser.add_argument("--data-root", type=Path, help="where embeddings stay; a temporary folder without it")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "ingredients.json")
    args = parser.parse_args()
    rows: Rows = json.loads(args.out.read_text()) if args.out.exists() else []
    with tempfile.TemporaryDirectory() as temporary:
        for corpus in args.corpora:
            if any(row["corpus"] == corpus for row in rows):
                continue
            file = args.folder / f"{corpus}.jsonl.gz"
            texts, vectors = embedded(file, CORPORA[corpus], args.data_root or Path(temporary))
            x = torch.from_numpy(vectors)
            order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
            sae = trained(x[order], len(x) // 20, sae_type="topk", dict_size=3072, top_k=32, n_epochs=10)
            about = {"corpus": corpus, "n_texts": len(texts)}
            for row in compared(texts, vectors, sae.transform(x), sae.W_dec.detach().numpy(), args.n_latents):
                rows.append(about | row)
                print(json.dumps(rows[-1]), flush=True)
            args.out.write_text(json.dumps(rows, indent=1) + "\n")
    args.out.with_suffix(".md").write_text(table(rows))
    print(table(rows))


def compared(texts: list[str], vectors: Array, codes: sparse.csr_array, directions: Array, n: int) -> Iterator[Any]:
    """Yield, for each recipe, the mean AUROC of labels on texts that made none, and that of another latent's label."""
    directions = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    latents = np.sort(np.random.default_rng(0).choice(len(directions), min(n, len(directions)), replace=False))
    unit = _centred(vectors)
    making, scoring = (
        Side([texts[row] for row in rows], unit[rows], sparse.csc_array(codes[rows])) for rows in halves(texts)
    )
    blocks = np.split(latents, range(BLOCK, len(latents), BLOCK))
    examples = [
        [draw_examples(side.codes, side.vectors, block, share, np.arange(len(side.texts))) for block in blocks]
        for side, share in ((making, MAKING), (scoring, SCORING))
    ]
    vocabulary, known = None, None
    for recipe in RECIPES:
        start = time.perf_counter()
        if vocabulary is None or known != recipe[1:3]:
            with mock.patch.multiple(words, MIN_TEXTS=recipe.min_texts, SAME_WORD=recipe.same_word):
                vocabulary, known = read_vocabulary(making.texts, making.vectors), recipe[1:3]
            presence = vocabulary.presence_in(scoring.texts)
        labels = labelled(recipe, vocabulary, making, directions, blocks, examples[0])
        scores = [
            row for label, block in zip(labels, examples[1], strict=True) for row in scored(presence, *label, block)
        ]
        mean = np.mean(scores, axis=0).tolist()
        names = (f"auroc_{SHOWN}", f"auroc_{SCORED}", f"floor_{SHOWN}", f"floor_{SCORED}")
        seconds = time.perf_counter() - start
        yield {"recipe": recipe.name, **dict(zip(names, mean, strict=True)), "n": len(scores), "seconds": seconds}


def labelled(
    recipe: Recipe, vocabulary: Vocabulary, side: Side, directions: Array, blocks: list[Array], examples: list[Examples]
) -> Iterator[tuple[Array, Array]]:
    """Yield keywords and their weights, `(b, SCORED)` each, for every block of latents."""
    presence, members = vocabulary.presence, vocabulary.words_of_parts
    is_word, is_part = vocabulary.is_word, vocabulary.parts[:, 0] < 0
    allowed = {"words": is_word, "pairs": ~is_part, "parts": is_word | True}[recipe.kinds]
    places = np.flatnonzero(allowed)
    ranking = keywords.Ranking(sparse.csr_array(presence[:, places]), strongest(side.codes, recipe.strongest))
    n_texts = np.asarray(presence.sum(axis=0)).ravel()
    word_vectors = (presence.T @ side.vectors) / (n_texts[:, None] + SHRINK)
    for block, texts in zip(blocks, examples, strict=True):
        scores = np.zeros((len(block), len(allowed)), np.float32)
        scores[:, places] = ranking.of(block)
        if recipe.chosen:
            closeness = np.where(allowed, directions[block] @ word_vectors.T, -1)
            with mock.patch.object(keywords, "SHORT_LIST_BY_DIRECTION", recipe.by_direction):
                candidates = keywords.short_lists(scores, closeness)
            chosen = keywords.choose(presence, vocabulary, members, scores, candidates, texts)
            yield chosen.places, chosen.weights
        else:
            best = np.argsort(-scores, axis=1, kind="stable")[:, :SCORED]
            weights = np.take_along_axis(scores, best, axis=1)
            yield best, np.rint(1000 * weights / np.maximum(weights[:, :1], 1e-9)).astype(int)


def strongest(codes: sparse.csc_array, share: float) -> sparse.csr_array:
    """Keep the largest codes of each latent that fires on more than 20 texts."""
    kept = codes.copy()
    if share < 1:
        for start, end in zip(kept.indptr, kept.indptr[1:], strict=False):
            own = kept.data[start:end]  # a view
            if len(own) > 20:
                own[own < np.quantile(own, 1 - share)] = 0
        kept.eliminate_zeros()
    return sparse.csr_array(kept)


def scored(presence: sparse.csr_array, places: Array, weights: Array, examples: Examples) -> Iterator[list[float]]:
    """Yield, for each latent with enough texts, the AUROC of its label and of the next one's, few and all keywords."""
    sums = [annotate(presence, places[:, :k], weights[:, :k]) for k in (SHOWN, SCORED)]
    for place in np.flatnonzero(examples.n):
        texts = examples.rows[place, :, : examples.n[place]]
        positive, negative = texts[POSITIVE], texts[[NEAR, RANDOM]].ravel()
        columns = [(few_or_all, at) for at in (place, place - 1) for few_or_all in sums]
        yield [float(chance_above(s[positive, at], s[negative, at]).mean()) for s, at in columns]


def table(rows: Rows) -> str:
    """Write a line per recipe: the AUROC of five and of fifteen keywords on every corpus."""
    corpora = list(dict.fromkeys(row["corpus"] for row in rows))
    n_texts = {row["corpus"]: row["n_texts"] for row in rows}
    heads = [f"{corpus.replace('_', ' ')}, {n_texts[corpus]:,}" for corpus in corpora]
    lines = ["| labels made by | " + " | ".join(heads) + " |", "|---" * (len(corpora) + 1) + "|"]
    found = {(row["recipe"], row["corpus"]): row for row in rows}
    for recipe in dict.fromkeys(row["recipe"] for row in rows):
        line = [found[recipe, corpus] for corpus in corpora]
        lines.append(_line(recipe, line, "auroc"))
    lines.append(_line("another latent's label", line, "floor"))
    return "\n".join(lines) + "\n"


def _line(name: str, rows: Rows, score: str) -> str:
    pairs = [f"{row[f'{score}_{SHOWN}']:.3f} / {row[f'{score}_{SCORED}']:.3f}" for row in rows]
    return "| " + " | ".join([name, *pairs]) + " |"


if __name__ == "__main__":
    main()

"""`kedro sae explain`: why texts are close, in the words of an SAE's latents."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from sae_kedro.cli import places
from sae_kedro.cli.trained import ITS_OWN, Found, TrainedRun
from sae_kedro.errors import InputError

if TYPE_CHECKING:
    from sae_kedro.interpretation.explain import Term
    from sae_kedro.interpretation.highlights import Highlights
    from sae_kedro.sae.base import SAE

SIDES = {1: ("",), 2: ("first ", "second"), 3: ("query ", "first ", "second")}


@click.command()
@click.argument("texts", nargs=-1)
@click.option("--name", metavar="RUN", help="Default: the run that was trained last.")
@places.data_root_option
@click.option("--difference", is_flag=True, help="Tell what sets two texts apart, not why they are close.")
@click.option(
    "--corpus",
    is_flag=False,
    flag_value=ITS_OWN,
    metavar="[DATASET]",
    help="Explain nearest neighbours in DATASET, or in the corpus of the SAE.",
)
@click.option("--row", "rows", type=click.IntRange(0), multiple=True, help="A row of the corpus in place of a text.")
@click.option("--neighbours", type=click.IntRange(1), default=3, show_default=True, help="How many of them.")
@click.option("--top", type=click.IntRange(1), default=6, show_default=True, help="Bars of each kind, at most.")
@click.option("--json", "as_json", is_flag=True, help="Print an object: cosine, sum, terms.")
def explain(
    texts: tuple[str, ...],
    name: str | None,
    data_root: str | None,
    difference: bool,
    corpus: str | None,
    rows: tuple[int, ...],
    neighbours: int,
    top: int,
    as_json: bool,
) -> None:
    """Tell why texts are close, by shares that add up.

    One text: what it is made of. Two: why they are close. Three: why the first is closer to the second than to the
    third. Shares of the SAE's latents add up to the model's own cosine.
    """
    n = len(texts) + len(rows)
    if not 1 <= n <= 3:
        raise InputError(f"explain takes one to three texts (or rows, with --row), and {n} are given")
    if difference and n != 2:
        raise InputError(f"--difference tells what sets two texts apart, and {n} are given")
    for place, text in enumerate(texts, 1):
        if not text.strip():
            raise InputError(f"text {place} is empty; give one with at least a word")
    run = TrainedRun(data_root, name, corpus)
    items = [*run.encoded(texts), *map(run.row, rows)]
    if n == 1 and corpus is not None:
        found = [run.explained([items[0], other]) for other in run.neighbours(items[0], neighbours)]
    else:
        found = [run.explained(items, difference)]
    if as_json:
        told = [_json(each, run) for each in found]
        own = {"run": run.name} | ({"text": items[0].text, "neighbours": told} if n == 1 and corpus else told[0])
        click.echo(json.dumps(own, indent=2, ensure_ascii=False))
        return
    _print(found, run, top, compact=n == 1 and corpus is not None)


def _active(found: Found, term: Term) -> list[Highlights | None]:
    """Return the words of each text on which a latent is active, and None for the others."""
    weights = (None, term.first, term.second)[-len(found.words) :] if len(found.words) > 1 else (term.first,)
    return [words if weight else None for words, weight in zip(found.words, weights, strict=True)]


def _json(found: Found, run: TrainedRun) -> dict[str, Any]:
    told = found.explanation.to_json()
    for entry, term in zip(told["terms"], found.explanation.terms, strict=True):
        entry |= {"label_auroc": None, "words": None}
        if (latent := term.latent) is not None:
            entry["label_auroc"] = run.scores.get(latent)
            entry["words"] = [words and words.pairs(latent) for words in _active(found, term)]
    items = [{"text": item.text} | ({} if item.row is None else {"row": item.row}) for item in found.items]
    return {"texts": items, **told}


def _print(found: list[Found], run: TrainedRun, top: int, compact: bool) -> None:
    from sae_kedro.cli.bars import Bars

    bars = Bars(top)
    if compact:
        bars.line(f"nearest to  {found[0].items[0]}" if found else "there is no other text in the corpus")
    for each in found:
        explanation, items = each.explanation, each.items
        way = "text" if len(items) == 1 else explanation.measure
        if compact:
            bars.line(f"\n{explanation.value:.2f}  {items[1]}", "bold")
            way = "neighbour"
        else:
            for side, item in zip(SIDES[len(items)], items, strict=True):
                bars.line(f"{side} {item}".strip())
            bars.line(f"\n{_headline(each, run.sae)}", "bold")
        words = {i: _few(_active(each, term), i) for term in explanation.terms if (i := term.latent) is not None}
        bars.show(explanation, way, run.scores, words)
        if not compact:
            bars.pairs(explanation, top)
    for note in _notes(found, run):
        bars.line(f"\n{note}", "dim")


def _few(texts: list[Highlights | None], latent: int) -> str:
    """Write the words that switch a latent on: two of one text, or one of each."""
    words = [word for read in texts if read for word in read.top(latent, 2 if len(texts) == 1 else 1)]
    return (" " if len(texts) == 1 else " ~ ").join({word.casefold(): word for word in words}.values())


def _headline(found: Found, sae: SAE) -> str:
    explanation, items = found.explanation, found.items
    if len(items) == 1:
        return "what the text is made of"
    if explanation.measure == "cosine":
        usual = float(sae.train_mean.square().sum())
        alike = all(abs(float(item.vector.norm()) - 1) < 1e-3 for item in items)  # a mean of others tells no cosine
        return f"cosine {explanation.value:.2f}" + (f", where two texts have {usual:.2f} on average" if alike else "")
    if explanation.measure == "squared_distance":
        return f"squared distance {explanation.value:.2f} = 2 - 2 x cosine {1 - explanation.value / 2:.2f}"
    closer = "first" if explanation.value >= 0 else "second"
    return f"the {closer} is closer to the query: its cosine is larger by {abs(explanation.value):.2f}"


def _notes(found: list[Found], run: TrainedRun) -> Iterator[str]:
    read = [pair for each in found for pair in zip(each.items, each.words, strict=True)]
    for item in dict.fromkeys(str(item) for item, words in read if words and words.truncated):
        yield f"the model reads the beginning only of: {item[:40]}..."
    if any(each.explanation.terms[0].kind == "residual" for each in found):
        yield "the largest part is one that this SAE does not explain: trust these bars little"
    if not run.labels:
        yield "latents have no names yet: `kedro run --pipelines interpret` gives them some"


COMMANDS = [explain]

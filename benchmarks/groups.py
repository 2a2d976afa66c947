"""What `contrast` finds where there is something, and where not: `python -m benchmarks.groups FOLDER`.

On codes of BANKING77 and CLINC150. Shuffled groups have nothing to find, whether or not they differ in length. Then the
texts of an intent, or those with a word, get nine times the odds of being in one of two groups that differ in length.
Beside it the latents that HypotheSAEs selects from the same codes: it makes no test and lists as many as it is asked
for. Writes `results/groups.json` and `.md`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.feature_extraction.text import CountVectorizer

from benchmarks.intents import EVERY, N_SHOWN, Coded, code
from benchmarks.probes import SETS, read
from benchmarks.run import HERE, Worker
from sae_kedro.interpretation import statistics as ours
from sae_kedro.interpretation.contrast import LEVEL, contrast
from sae_kedro.interpretation.statistics import benjamini_hochberg, p_value

GROUPS = ("halves", "halves of different length", "1 % and the rest", "shuffled intents")
METHODS = ("separation_score", "correlation")
"""Of `select_neurons`; its lasso, twenty fits of the dense matrix, takes minutes for each target."""
LISTED, ODDS = 20, 9
ON_TOPIC, OFF_TOPIC = 5.0, 2.0
"""How many times as often as elsewhere a latent fires on planted texts: at least, to be what was planted (if it fires
on a quarter of them, too); below, to have nothing to do with it."""
Bools = NDArray[np.bool_]
Rows = list[dict[str, Any]]


def main() -> None:
    """Shuffle, plant, and write how much was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="holds NAME_train.jsonl.gz of both sets")
    parser.add_argument("--peers", type=Path, default=HERE / ".venv-peers" / "bin" / "python")
    parser.add_argument("--labellings", type=int, default=200)
    parser.add_argument("--data-root", help="where embeddings stay; a temporary folder without it")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "groups.json")
    args = parser.parse_args()
    results = json.loads(args.out.read_text()) if args.out.exists() else {"planted": [], "shuffled": []}
    coded = {name: code(name, read(args.folder, f"{name}_train"), args.data_root) for name in SETS}
    for part, run in (("planted", planted), ("shuffled", shuffled)):
        for name in SETS:
            done = [row for row in results[part] if row["set"] == name]  # an interrupted run goes on where it stopped
            for row in run(coded[name], args, done):
                results[part].append({"set": name} | row)
                print(json.dumps(results[part][-1]), flush=True)
                args.out.write_text(json.dumps(results, indent=1) + "\n")
                args.out.with_suffix(".md").write_text(table(results))
    print(table(results))


def shuffled(coded: Coded, args: argparse.Namespace, done: Rows) -> Iterator[dict[str, Any]]:
    """Yield how many labellings without meaning have any row with q < .05, and how many rows are confirmed."""
    for kind in GROUPS:
        for law in ("ours", "normal") if kind.startswith("1 %") else ("ours",):
            if any((row["groups"], row["law"]) == (kind, law) for row in done):
                continue
            found, unadjusted, confirmed = [], [], []
            for seed in range(args.labellings):
                groups = labelling(kind, coded, np.random.default_rng(1000 + seed))
                with patch.object(ours, "skew_corrected", ours.skew_corrected if law == "ours" else lambda z, _: z):
                    table, summary = contrast(coded.codes, groups, texts=coded.texts, n_shuffles=0)
                found.append(summary["n_q05"] > 0)
                confirmed.append(summary["n_confirmed"])
                q = benjamini_hochberg(p_value(table["z_any_length"].to_numpy()))
                unadjusted.append(bool((q < LEVEL).any()))
            yield {
                "groups": kind,
                "law": law,
                "labellings": args.labellings,
                "latents": summary["n_tested"],
                "any_q05": sum(found),
                "any_q05_any_length": sum(unadjusted),
                "n_confirmed": sum(confirmed),
                "labellings_confirmed": sum(n > 0 for n in confirmed),
            }


def labelling(kind: str, coded: Coded, rng: np.random.Generator) -> NDArray[Any]:
    """Draw a group for every text that has nothing to do with its meaning."""
    n = len(coded.texts)
    if kind == "shuffled intents":
        return rng.permutation(coded.intents)
    odds = {"halves": np.zeros(n), "1 % and the rest": np.full(n, np.log(0.01 / 0.99))}.get(kind, _length(coded.texts))
    return np.where(rng.random(n) < 1 / (1 + np.exp(-odds)), "b", "a")


def planted(coded: Coded, args: argparse.Namespace, done: Rows) -> Iterator[dict[str, Any]]:
    """Yield what each way finds of an intent or a word that was planted in groups of different length."""
    fires = sparse.csr_array(coded.codes > 0).astype(np.float64)
    with tempfile.TemporaryDirectory() as folder:
        sparse.save_npz(Path(folder, "codes.npz"), coded.codes)
        worker = Worker(args.peers, "hypothesaes", task="Select", codes=str(Path(folder, "codes.npz")))
        for seed, (kind, what, where) in enumerate(topics(coded)):
            if any((row["planted"], row["what"]) == (kind, what) for row in done):
                continue
            rng = np.random.default_rng(seed)
            odds = _length(coded.texts) + np.log(ODDS) * where
            in_b = rng.random(len(where)) < 1 / (1 + np.exp(-odds))
            inside, outside = fires[where].mean(axis=0), np.maximum(fires[~where].mean(axis=0), 1e-9)
            on_topic = (inside >= 0.25) & (inside >= ON_TOPIC * outside)
            start = time.perf_counter()
            rows, _ = contrast(coded.codes, np.where(in_b, "b", "a"), texts=coded.texts, n_shuffles=0)
            seconds = time.perf_counter() - start
            chosen = {
                "q < .05": (rows.loc[rows["q"] < LEVEL, "latent"].tolist(), seconds),
                "confirmed": (rows.loc[rows["confirmed"], "latent"].tolist(), seconds),
            }
            for method in METHODS:
                answer = worker.ask("select", target=in_b.astype(float).tolist(), method=method, n=LISTED)
                chosen[f"HypotheSAEs, {method}"] = answer["latents"], answer["seconds"]
            for way, (latents, seconds) in chosen.items():
                places = np.flatnonzero(on_topic[latents])
                yield {
                    "planted": kind,
                    "what": what,
                    "texts": int(where.sum()),
                    "latents_on_topic": int(on_topic.sum()),
                    "way": way,
                    "place": int(places[0]) + 1 if len(places) else None,
                    "q": float(rows.set_index("latent")["q"][latents[places[0]]]) if len(places) else None,
                    "listed": len(latents),
                    "off_topic": int((inside < OFF_TOPIC * outside)[latents].sum()),
                    "seconds": seconds,
                }
        worker.close()


def topics(coded: Coded) -> Iterator[tuple[str, str, Bools]]:
    """Yield intents, in alphabetical order, and the most telling word of each, with the texts that are of it."""
    intents = np.array(coded.intents)
    words = CountVectorizer(binary=True)
    has = words.fit_transform(coded.texts)
    for intent in sorted(set(coded.intents))[::EVERY][:N_SHOWN]:
        of_it = intents == intent
        yield "intent", intent, of_it
        rates = np.asarray(has[of_it].mean(axis=0) - has[~of_it].mean(axis=0)).ravel()
        word = int(rates.argmax())
        yield "word", words.get_feature_names_out()[word], has[:, [word]].toarray().ravel() > 0


def _length(texts: list[str]) -> NDArray[np.float64]:
    """Return the standardised logarithm of each text's length."""
    length = np.log([len(text) for text in texts])
    return np.asarray((length - length.mean()) / length.std())


def table(results: dict[str, list[dict[str, Any]]]) -> str:
    """Write both parts as Markdown."""
    lines = ["| texts | groups | labellings with any q < .05 | without strata of length | confirmed rows |"]
    lines.append("|---" * 5 + "|")
    for row in results["shuffled"]:
        law = ", by the normal law" if row["law"] == "normal" else ""
        found = [f"{row[key]} of {row['labellings']}" for key in ("any_q05", "any_q05_any_length")]
        lines.append("| " + " | ".join([row["set"], row["groups"] + law, *found, str(row["n_confirmed"])]) + " |")
    head = ["planted", "chosen by", "planted latent listed", "listed first", "listed", "of them off topic", "seconds"]
    lines += ["", "| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for kind in ("intent", "word"):
        for way in dict.fromkeys(row["way"] for row in results["planted"]):
            rows = [row for row in results["planted"] if row["way"] == way and row["planted"] == kind]
            if not rows:
                continue
            there = [row["place"] for row in rows if row["place"]]
            listed, off = (sum(row[key] for row in rows) for key in ("listed", "off_topic"))
            lines.append(
                f"| {kind} | {way} | {len(there)} of {len(rows)} | {sum(place == 1 for place in there)} | "
                f"{listed / len(rows):.1f} | {off / max(1, listed):.0%} | "
                f"{statistics.median(row['seconds'] for row in rows):.1f} |"
            )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()

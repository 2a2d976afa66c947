"""Do labels tell which intent they belong to? `python -m benchmarks.intents FOLDER` writes `results/intents.*`.

An SAE with default keys learns the training part of a set, `interpret` labels its latents without an intent in sight,
and `contrast` orders the latents of every intent. A judge then reads what is said of the latents that came first, and
calls the intent whose name is nearest, out of all. The same judge gets texts of the latent and of the intent itself:
what a label could at best tell, and what the names of intents allow at all; and the label of another intent's latent.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from benchmarks.probes import SETS, Rows, embed, read
from benchmarks.run import HERE
from benchmarks.worker import MODEL
from sae_kedro import fit, get_experiment_cfg, load_model, post_init_cfg
from sae_kedro.activations.encoder import TextEncoder
from sae_kedro.interpretation.contrast import Contrast, contrast
from sae_kedro.interpretation.interpret import interpret
from sae_kedro.sae.base import SAE

N_TEXTS = 20
"""Texts that stand for a latent, its strongest, and for an intent."""
EVERY = 15
"""Intents in alphabetical order of which one is shown, from the first on."""
N_SHOWN = 5
Floats = NDArray[np.float32]


class Coded(NamedTuple):
    """Texts of a set, and what an SAE makes of them."""

    texts: list[str]
    intents: list[str]
    vectors: Floats
    encoder: TextEncoder
    sae: SAE
    codes: sparse.csr_array


def main() -> None:
    """Label, contrast and judge, set after set, and write shares of intents that are told."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="holds NAME_train.jsonl.gz of both sets")
    parser.add_argument(
        "--judges", nargs="*", default=[MODEL], help="sentence-transformers; one that made no label, too"
    )
    parser.add_argument("--data-root", help="where embeddings stay; a temporary folder without it")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "intents.json")
    args = parser.parse_args()
    told: list[dict[str, Any]] = []
    shown: list[dict[str, Any]] = []
    for name in SETS:
        coded = code(name, read(args.folder, f"{name}_train"), args.data_root)
        names = label(coded)
        start = time.perf_counter()
        found = contrast(coded.codes, coded.intents, texts=coded.texts, n_shuffles=0, **names)
        seconds = time.perf_counter() - start
        intents = found.summary["groups"]
        said = sayings(coded, found)
        about = {"set": name, "intents": len(intents), "seconds": seconds, "auc": float(first(found)["auc"].median())}
        for path in args.judges:
            judge = load_model(path)
            called = judge.encode([intent.replace("_", " ") for intent in intents], normalize_embeddings=True)
            for what, phrases in said.items():
                if what.startswith(f"{N_TEXTS} texts") and path != args.judges[0]:
                    continue  # labels are what another judge is for
                places = rank(np.stack([judge.encode(each).mean(axis=0) for each in phrases]), called)
                row = {
                    "judge": Path(path).name,
                    "read": what,
                    "top1": (places == 0).mean(),
                    "top3": (places < 3).mean(),
                }
                told.append(
                    about | {key: value if isinstance(value, str) else float(value) for key, value in row.items()}
                )
                print(json.dumps(told[-1]), flush=True)
                if what == "keywords of the first latent":
                    shown += [
                        {**row, "set": name, "judge": Path(path).name, "place": int(place) + 1}
                        for row, place in list(zip(first(found).to_dict("records"), places, strict=True))[::EVERY]
                    ][:N_SHOWN]
    args.out.write_text(json.dumps({"told": told, "shown": shown}, indent=1) + "\n")
    args.out.with_suffix(".md").write_text(table(told, shown))
    print(table(told, shown))


def code(name: str, rows: Rows, data_root: str | None) -> Coded:
    """Embed texts and train an SAE on them."""
    texts, intents = [row["text"] for row in rows], [row["label"] for row in rows]
    with tempfile.TemporaryDirectory() as temporary:
        cfg = post_init_cfg(get_experiment_cfg(model_name=MODEL, data_root=data_root or temporary, dtype="float32"))
        encoder = TextEncoder(cfg, None)
        vectors = embed(name, rows, cfg, encoder).numpy()
    sae = fit(vectors, texts, MODEL, device="cpu")
    return Coded(texts, intents, vectors, encoder, sae, sae.transform(vectors))


def label(coded: Coded) -> dict[str, dict[int, str]]:
    """Return labels and keywords of latents, as `contrast` takes them."""
    encode = coded.encoder.encode
    features = interpret(coded.sae, coded.codes, coded.texts, coded.vectors, lambda words: encode(list(words)).numpy())
    named = features.table.dropna(subset="label").set_index("latent")
    return {"labels": named["label"].to_dict(), "keywords": named["keywords"].to_dict()}


def first(found: Contrast) -> pd.DataFrame:
    """Return the row of each group, in their order, whose latent sets it apart most by firing more often."""
    return (
        found.table[found.table["z"] > 0]
        .groupby("group")
        .head(1)
        .set_index("group", drop=False)
        .loc[found.summary["groups"]]
    )


def sayings(coded: Coded, found: Contrast) -> dict[str, list[list[str]]]:
    """Return what the judge is given for each intent, by kind."""
    rows, rng = first(found), np.random.default_rng(0)
    more = found.table[found.table["z"] > 0].groupby("group").head(3).groupby("group")["keywords"].agg(list)
    keywords = rows["keywords"].tolist()
    strengths = coded.codes[:, rows["latent"].to_numpy()].toarray()
    of_latents = [np.argsort(-strength, kind="stable")[:N_TEXTS] for strength in strengths.T]
    intents = np.array(coded.intents)
    of_intents = [rng.permutation(np.flatnonzero(intents == intent))[:N_TEXTS] for intent in rows["group"]]
    return {
        "keywords of the first latent": [[each] for each in keywords],
        "keywords of the first three": more.loc[rows["group"]].tolist(),
        "title of the first latent": [[each] for each in rows["label"]],
        f"{N_TEXTS} texts of the first latent": [[coded.texts[row] for row in some] for some in of_latents],
        f"{N_TEXTS} texts of the intent": [[coded.texts[row] for row in some] for some in of_intents],
        "keywords of another intent's": [[each] for each in np.roll(keywords, len(keywords) // 2)],
    }


def rank(meanings: Floats, names: Floats) -> NDArray[np.int64]:
    """Return how many names are nearer to each meaning than that of the same row."""
    cosines = meanings @ names.T
    return np.asarray((cosines > np.diag(cosines)[:, None]).sum(axis=1))


def table(told: list[dict[str, Any]], shown: list[dict[str, Any]]) -> str:
    """Write shares, and some intents with their labels, as Markdown."""
    keys = list(dict.fromkeys((row["set"], row["judge"]) for row in told))
    lines = ["| what is read | " + " | ".join(f"{name}, {judge}" for name, judge in keys) + " |"]
    lines.append("|---" * (len(keys) + 1) + "|")
    for what in dict.fromkeys(row["read"] for row in told):
        rows = {
            (row["set"], row["judge"]): f"{row['top1']:.0%}, {row['top3']:.0%}" for row in told if row["read"] == what
        }
        lines.append(f"| {what} | " + " | ".join(rows.get(key, "") for key in keys) + " |")
    judge = shown[-1]["judge"]
    lines += ["", f"| intent | label | keywords | AUC | place of its name ({judge}) |", "|---|---|---|---|---|"]
    for row in shown:
        if row["judge"] == judge:
            place = "right" if row["place"] == 1 else f"wrong, {row['place']}"
            cells = [f"`{row['group']}`", row["label"], row["keywords"], f"{row['auc']:.2f}", place]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()

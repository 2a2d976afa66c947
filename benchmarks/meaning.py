"""Whose latents mean more: `python -m benchmarks.meaning FOLDER` writes `results/meaning.json` and `.md`.

SAEs of several libraries, of equal L0, each at the learning rate at which `benchmarks.quality` found its FVU lowest,
learn from the same embeddings. Then one protocol, ours, labels and scores all latents of each from the same texts:
only codes and decoder directions differ.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import sparse

from benchmarks.ours import embedded
from benchmarks.run import HERE, PEERS, Worker
from sae_kedro import SAE, sae_classes
from sae_kedro.evaluation.measures.stability import found_again
from sae_kedro.interpretation.interpret import interpret

LIBRARIES = ("sae_kedro", "dictionary_learning", "hypothesaes", "sae_lens")
HELD_OUT = 1 / 20
FOUND_AGAIN = 0.7
COLUMNS = {
    "label_auroc": "label AUROC, 5 keywords",
    "label_auroc_15": "15 keywords",
    "floor_auroc": "another's label",
    "nearest_auroc": "the nearest latent's",
    "share_above_075": "latents above .75",
    "n_above_075": "of all, so many",
    "cohesion": "cohesion",
    "n_labelled": "labelled",
    "n_dead": "dead",
    "cosine_of_seeds": "stability: mean cosine",
    "found_again": "stability: found again",
    "fvu": "FVU",
    "l0": "L0",
}
Rows = list[dict[str, Any]]


def main() -> None:
    """Train what is not there, interpret what has no row, and write rows and table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="holds arxiv_titles.jsonl.gz")
    parser.add_argument("--n-texts", type=int, default=60_000)
    parser.add_argument("--peers", type=Path, default=HERE / ".venv-peers" / "bin" / "python")
    parser.add_argument("--libraries", nargs="*", default=LIBRARIES)
    parser.add_argument("--variants", nargs="*", default=["topk", "batchtopk"])
    parser.add_argument("--dict-size", type=int, default=3072)
    parser.add_argument("--top-k", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1])
    parser.add_argument("--data-root", type=Path, help="where embeddings and SAEs stay; a temporary folder without it")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "meaning.json")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root = args.data_root or Path(temporary)
        texts, vectors = embedded(args.folder / "arxiv_titles.jsonl.gz", args.n_texts, root)
        kept = root / "meaning"
        kept.mkdir(exist_ok=True)
        np.save(kept / "embeddings.npy", vectors)
        sizes = {"dict_size": args.dict_size, "top_k": args.top_k, "epochs": args.epochs}
        rows: Rows = json.loads(args.out.read_text()) if args.out.exists() else []
        for variant in args.variants:
            for library in args.libraries:
                lr = None if library == "sae_kedro" else best_rate(library, variant)
                what = {"variant": variant, **sizes, "lr": lr}
                saes = trained(args.peers, library, what, args.seeds, kept, len(texts))
                for seed in args.seeds:
                    about = {"library": library, "corpus": "titles", "n_texts": len(texts), **what, "seed": seed}
                    if any(about.items() <= row.items() for row in rows):
                        continue
                    others = [saes[other] for other in args.seeds if other != seed]
                    rows.append(about | meaning(saes[seed], others, texts, vectors, args.top_k))
                    print(json.dumps(rows[-1]), flush=True)
                    args.out.write_text(json.dumps(rows, indent=1) + "\n")
                    args.out.with_suffix(".md").write_text(table(rows))
    print(table(rows))


def best_rate(library: str, variant: str) -> float | None:
    """Return the learning rate of a library's lowest FVU in `results/quality.json`; None is its default."""
    runs: Rows = json.loads((HERE / "results" / "quality.json").read_text())
    own = [run for run in runs if (run["corpus"], run["library"], run["variant"]) == ("titles", library, variant)]
    lr: float | None = min(own, key=lambda run: run["fvu"])["lr"]
    return lr


def trained(python: Path, library: str, what: dict[str, Any], seeds: list[int], kept: Path, n: int) -> dict[int, Path]:
    """Train an SAE for every seed that has none yet; return where their codes and directions are."""
    saes = {seed: kept / f"{library}-{what['variant']}-{seed}.npz" for seed in seeds}
    if missing := {seed: path for seed, path in saes.items() if not path.with_suffix(".json").exists()}:
        rows = {"path": str(kept.resolve() / "embeddings.npy"), "held_out": int(HELD_OUT * n)}
        worker = Worker(python if library in PEERS else Path(sys.executable), library, task="Quality", **rows)
        for seed, path in missing.items():
            found = worker.ask("train", **what, seed=seed)
            worker.ask("write", path=str(path.resolve()))
            path.with_suffix(".json").write_text(json.dumps(found))
        worker.close()
    return saes


def meaning(path: Path, others: list[Path], texts: list[str], vectors: np.ndarray[Any, Any], k: int) -> dict[str, Any]:
    """Interpret an SAE from its codes and directions, and look for its latents in SAEs of other seeds."""
    file, found = np.load(path), json.loads(path.with_suffix(".json").read_text())
    directions = torch.from_numpy(file["directions"])
    codes = sparse.csr_array(
        (file["data"], file["indices"], file["indptr"]), shape=(len(texts), len(directions)), dtype=np.float32
    )
    features = interpret(with_directions(directions, k), codes, texts, vectors)
    living = directions[features.table["n_texts"].to_numpy(copy=True) > 0]
    cosines = [found_again(living, torch.from_numpy(np.load(other)["directions"])) for other in others]
    scores = {key: features.summary[key] for key in COLUMNS if key in features.summary}
    return {
        **scores,
        "n_above_075": int((features.table["label_auroc"] > 0.75).sum()),
        "n_rare": features.summary["n_rare"],
        "n_wordless": features.summary["n_wordless"],
        "cosine_of_seeds": statistics.mean(float(cosine.mean()) for cosine in cosines) if cosines else None,
        "found_again": statistics.mean(float((cosine >= FOUND_AGAIN).float().mean()) for cosine in cosines)
        if cosines
        else None,
        "fvu": found["fvu"],
        "l0": codes.nnz / len(texts),
        "seconds_to_train": found["seconds"],
        "seconds_to_interpret": features.summary["seconds"],
    }


def with_directions(directions: torch.Tensor, top_k: int) -> SAE:
    """Make an SAE of which only the decoder directions count: codes are made already."""
    sae = sae_classes["topk"]({"dict_size": len(directions), "act_size": directions.shape[1], "top_k": top_k})
    sae.W_dec.data = directions
    return sae


def table(rows: Rows) -> str:
    """Write a line per library and variant, mean over seeds."""
    lines = ["| variant | library | learning rate | " + " | ".join(COLUMNS.values()) + " |"]
    lines.append("|---" * (len(COLUMNS) + 3) + "|")
    groups: dict[tuple[Any, ...], Rows] = {}
    for row in rows:
        groups.setdefault((row["variant"], row["library"], row["lr"]), []).append(row)
    for (variant, library, lr), group in groups.items():
        cells = [variant, library, "default" if lr is None else f"{lr:g}"]
        for name in COLUMNS:
            values = [row[name] for row in group if row[name] is not None]
            style = ",.0f" if name.startswith("n_") else ".1f" if name == "l0" else ".3f"
            style = ".1%" if name in ("share_above_075", "found_again") else style
            cells.append(format(statistics.mean(values), style) if values else "")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()

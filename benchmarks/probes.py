"""What codes keep of what embeddings know: `python -m benchmarks.probes FOLDER` writes `results/probes.json` and `.md`.

SAEs learn from arXiv titles and WordNet glosses. Linear and k-sparse probes then learn the intents of BANKING77 and
CLINC150, of which no SAE has seen a text, from embeddings, reconstructions and codes. Before that, probes on the bare
embeddings are held against published ones, on the same texts, split and penalty.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.run import HERE
from benchmarks.worker import MODEL, read_rows
from sae_kedro import ActivationsStoreSBERT, get_experiment_cfg, post_init_cfg, sae_classes, train
from sae_kedro.activations.encoder import TextEncoder
from sae_kedro.activations.listed import ListedTexts, embed_texts
from sae_kedro.evaluation.probes import K_SPARSE, PENALTIES, probe
from sae_kedro.evaluation.representations import represent

CORPORA = ("arxiv_titles", "wordnet_glosses")
SETS = ("banking77", "clinc150")
SPACES = ("original", "reconstruction", "codes")
PUBLISHED = {"banking77": 0.8766, "clinc150": 0.8409}
"""Accuracy of latent-sae's probe on all-MiniLM-L6-v2 (experiments/evals/*_hard.json): logistic regression, C = 1, on
four fifths of the test part, whose rows `RandomState(42)` permutes; CLINC150's with its out-of-scope texts."""
Rows = list[dict[str, str]]


def main() -> None:
    """Train SAEs, fit probes, and write accuracies and their difference from the embeddings' own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "folder",
        type=Path,
        help="holds NAME.jsonl.gz of both corpora and NAME_{train,test}.jsonl.gz of both sets; and, for the comparison "
        "with what is published, clinc150_oos_test.jsonl.gz: CLINC150's 1,000 out-of-scope texts",
    )
    parser.add_argument("--n-texts", type=int, default=50_000, help="texts of each corpus")
    parser.add_argument("--variants", nargs="*", default=["topk", "batchtopk", "jumprelu"])
    parser.add_argument("--top-ks", nargs="*", type=int, default=[16, 32, 64])
    parser.add_argument("--data-root", help="where embeddings stay; a temporary folder without it")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "probes.json")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        cfg = post_init_cfg(
            get_experiment_cfg(
                model_name=MODEL, num_examples=None, data_root=args.data_root or temporary, dtype="float32"
            )
        )
        encoder = TextEncoder(cfg, None)
        harness = [as_published(args.folder, name, cfg, encoder) for name in SETS]
        print(json.dumps(harness), flush=True)
        texts = [
            row["text"] for name in CORPORA for row in islice(read_rows(args.folder / f"{name}.jsonl.gz"), args.n_texts)
        ]
        store = ActivationsStoreSBERT(None, cfg, ListedTexts("titles-and-glosses", texts))
        parts = {name: [read(args.folder, f"{name}_{part}") for part in ("train", "test")] for name in SETS}
        vectors = {name: [embed(name, rows, cfg, encoder) for rows in both] for name, both in parts.items()}
        rows: list[dict[str, Any]] = []
        for variant in args.variants:
            for k in args.top_ks:
                own = post_init_cfg(cfg | {"sae_type": variant, "top_k": k, "name": None})
                sae = train(sae_classes[variant](own), store, own)
                for name, (train_x, test_x) in vectors.items():
                    y, y_test = ([row["label"] for row in part] for part in parts[name])
                    spaces = represent(sae, train_x), represent(sae, test_x)
                    row = {"set": name, "variant": variant, "k": k, "n_test": len(y_test)}
                    for space in SPACES:
                        result = probe(getattr(spaces[0], space), y, getattr(spaces[1], space), y_test)
                        row |= {space: result.accuracy} | {f"{space}_k{n}": a for n, a in result.k_sparse.items()}
                    rows.append(row)
                    print(json.dumps(row), flush=True)
                    args.out.write_text(json.dumps({"as_published": harness, "saes": rows}, indent=1) + "\n")
    args.out.with_suffix(".md").write_text(table(harness, rows))
    print(table(harness, rows))


def read(folder: Path, name: str) -> Rows:
    """Read a part of a set."""
    return list(read_rows(folder / f"{name}.jsonl.gz"))


def embed(name: str, rows: Rows, cfg: dict[str, Any], encoder: TextEncoder) -> Tensor:
    """Return the embeddings `(len(rows), act_size)`."""
    return embed_texts(name, [row["text"] for row in rows], cfg, encoder)


def as_published(folder: Path, name: str, cfg: dict[str, Any], encoder: TextEncoder) -> dict[str, Any]:
    """Fit the probe as the published one was, and as ours is by default, on the embeddings of a set's test part."""
    rows = read(folder, f"{name}_test")
    if name == "clinc150":
        extra = folder / f"{name}_oos_test.jsonl.gz"
        if not extra.exists():
            return {"set": name, "missing": extra.name}
        rows += read(folder, f"{name}_oos_test")
    x, y = embed(name, rows, cfg, encoder).numpy(), np.array([row["label"] for row in rows])
    order = np.random.RandomState(42).permutation(len(y))
    fit, test = np.split(order, [int(0.8 * len(y))])
    accuracies = {
        label: probe(x[fit], y[fit], x[test], y[test], penalties=penalties).accuracy
        for label, penalties in (("c1", (1.0,)), ("c_chosen", PENALTIES))
    }
    about = {"set": name, "n_test": len(test), "n_classes": len(set(y)), "published": PUBLISHED[name]}
    return about | accuracies


def table(harness: list[dict[str, Any]], rows: list[dict[str, Any]]) -> str:
    """Write accuracies in per cent as Markdown."""
    lines = ["| bare embeddings | texts to test on | classes | published, C 1 | here, C 1 | here, C chosen |"]
    lines.append("|---" * 6 + "|")
    for row in harness:
        if "missing" in row:
            lines.append(f"| {row['set']} | not run: there is no {row['missing']} | | | | |")
            continue
        figures = (f"{row[name]:.2%}" for name in ("published", "c1", "c_chosen"))
        lines.append("| " + " | ".join([row["set"], f"{row['n_test']:,}", str(row["n_classes"]), *figures]) + " |")
    names = [*SPACES, *(f"{space}_k{k}" for space in ("original", "codes") for k in K_SPARSE)]
    lines += ["", "| set | SAE | " + " | ".join(names) + " | codes against original, points |"]
    lines.append("|---" * (len(names) + 3) + "|")
    for row in rows:
        cells = [row["set"], f"{row['variant']}, k {row['k']}", *(f"{row[name]:.1%}" for name in names)]
        lines.append("| " + " | ".join([*cells, f"{100 * (row['codes'] - row['original']):+.1f}"]) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    torch.manual_seed(0)
    main()

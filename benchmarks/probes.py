"""What codes keep of what embeddings know: `python -m benchmarks.probes FOLDER` writes `results/probes.json` and `.md`.

SAEs learn from arXiv titles and WordNet glosses. Linear and k-sparse probes then learn the intents of BANKING77 and
CLINC150, of which no SAE has seen a text, from embeddings, reconstructions and codes.
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

from benchmarks.run import HERE
from benchmarks.worker import MODEL, read_rows
from sae_kedro import ActivationsStoreSBERT, get_experiment_cfg, post_init_cfg, sae_classes, train
from sae_kedro.activations.encoder import TextEncoder
from sae_kedro.activations.listed import ListedTexts, embed_texts
from sae_kedro.evaluation.probes import probe
from sae_kedro.evaluation.representations import represent

CORPORA = ("arxiv_titles", "wordnet_glosses")
SETS = ("banking77", "clinc150")
SPACES = ("original", "reconstruction", "codes")
Rows = list[dict[str, str]]


def main() -> None:
    """Train SAEs, fit probes, and write accuracies and their difference from the embeddings' own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "folder", type=Path, help="holds NAME.jsonl.gz of both corpora and NAME_{train,test} of both sets"
    )
    parser.add_argument("--n-texts", type=int, default=50_000, help="texts of each corpus")
    parser.add_argument("--variants", nargs="*", default=["topk", "batchtopk", "jumprelu"])
    parser.add_argument("--top-ks", nargs="*", type=int, default=[16, 32, 64])
    parser.add_argument("--data-root", help="where embeddings stay; a temporary folder without it")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "probes.json")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        cfg = post_init_cfg(
            get_experiment_cfg(model_name=MODEL, num_examples=None, data_root=args.data_root or temporary)
        )
        encoder = TextEncoder(cfg, None)
        texts = [
            row["text"] for name in CORPORA for row in islice(read_rows(args.folder / f"{name}.jsonl.gz"), args.n_texts)
        ]
        store = ActivationsStoreSBERT(None, cfg, ListedTexts("titles-and-glosses", texts))
        splits = {name: splits_of(args.folder, name) for name in SETS}
        vectors = {
            (name, split): [embed_texts(name, [row["text"] for row in part], cfg, encoder) for part in parts]
            for name in SETS
            for split, parts in splits[name].items()
        }
        rows: list[dict[str, Any]] = []
        for variant in args.variants:
            for k in args.top_ks:
                own = post_init_cfg(cfg | {"sae_type": variant, "top_k": k, "name": None})
                sae = train(sae_classes[variant](own), store, own)
                for (name, split), (train_x, test_x) in vectors.items():
                    y, y_test = ([row["label"] for row in part] for part in splits[name][split])
                    spaces = represent(sae, train_x), represent(sae, test_x)
                    row = {"set": name, "split": split, "variant": variant, "k": k, "n_test": len(y_test)}
                    for space in SPACES:
                        result = probe(getattr(spaces[0], space), y, getattr(spaces[1], space), y_test)
                        row |= {space: result.accuracy} | {f"{space}_k{n}": a for n, a in result.k_sparse.items()}
                    rows.append(row)
                    print(json.dumps(row), flush=True)
                    args.out.write_text(json.dumps(rows, indent=1) + "\n")
    args.out.with_suffix(".md").write_text(table(rows))
    print(table(rows))


def splits_of(folder: Path, name: str) -> dict[str, tuple[Rows, Rows]]:
    """Read the official split of a set; and its test part cut 80 to 20, on which published probes were fitted."""
    given = tuple(list(read_rows(folder / f"{name}_{part}.jsonl.gz")) for part in ("train", "test"))
    order = np.random.default_rng(0).permutation(len(given[1]))
    cut = len(order) // 5
    return {
        "official": (given[0], given[1]),
        "test part, 80:20": ([given[1][i] for i in order[cut:]], [given[1][i] for i in order[:cut]]),
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Write accuracies in per cent as Markdown."""
    names = [*SPACES, "codes_k1", "codes_k5", "codes_k20"]
    lines = ["| set | split | SAE | " + " | ".join(names) + " | codes against original, points |"]
    lines.append("|---" * (len(names) + 4) + "|")
    for row in rows:
        cells = [row["set"], row["split"], f"{row['variant']}, k {row['k']}", *(f"{row[name]:.1%}" for name in names)]
        lines.append("| " + " | ".join([*cells, f"{100 * (row['codes'] - row['original']):+.1f}"]) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    torch.manual_seed(0)
    main()

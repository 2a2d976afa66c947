"""How `interpret` grows: `python -m benchmarks.interpret_growth FOLDER` writes `results/interpret_growth.*`.

A million different lines of text: titles, glosses, and runs of eight words from abstracts. The first titles have their
own embeddings, the other lines the mean of their words, whose embeddings are the mean of those titles that have them;
directions are embeddings of titles drawn by chance, and codes the largest products. Only costs are of interest here.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import sparse
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.preprocessing import normalize

from benchmarks.meaning import with_directions
from benchmarks.ours import embedded
from benchmarks.run import HERE
from benchmarks.worker import read_rows
from sae_kedro.interpretation.interpret import interpret

N_TEXTS, DICT_SIZES, TOP_K = (60_000, 250_000, 1_000_000), (3072, 16_384), 32
WORDS_OF_LINE, STEP = 8, 3
Rows = list[dict[str, Any]]


def main() -> None:
    """Make texts, embeddings and codes once; then interpret a part of them in a process of its own, again and again."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="holds arxiv_titles, wordnet_glosses and arxiv_abstracts.jsonl.gz")
    parser.add_argument("--n-texts", nargs="*", type=int, default=N_TEXTS)
    parser.add_argument("--dict-sizes", nargs="*", type=int, default=DICT_SIZES)
    parser.add_argument("--data-root", type=Path, help="where what is made stays; a temporary folder without it")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "interpret_growth.json")
    parser.add_argument("--measure", action="store_true", help="interpret the first of each, in this process")
    args = parser.parse_args()
    if args.measure:
        print(json.dumps(measured(args.data_root / "growth", args.n_texts[0], args.dict_sizes[0])))
        return
    rows: Rows = json.loads(args.out.read_text()) if args.out.exists() else []
    with tempfile.TemporaryDirectory() as temporary:
        root = args.data_root or Path(temporary)
        for dict_size in args.dict_sizes:
            for n in args.n_texts:
                if any((row["n_texts"], row["dict_size"]) == (n, dict_size) for row in rows):
                    continue
                own = ["--data-root", str(root), "--n-texts", str(n), "--dict-sizes", str(dict_size), "--measure"]
                make(args.folder, root, max(args.n_texts), dict_size)
                command = [sys.executable, "-m", "benchmarks.interpret_growth", str(args.folder), *own]
                rows.append(json.loads(subprocess.run(command, check=True, capture_output=True).stdout))
                print(json.dumps(rows[-1]), flush=True)
                args.out.write_text(json.dumps(rows, indent=1) + "\n")
                args.out.with_suffix(".md").write_text(table(rows))
    print(table(rows))


def lines_of_text(folder: Path) -> Iterator[str]:
    """Yield titles, glosses, and runs of words of abstracts."""
    for name in ("arxiv_titles", "wordnet_glosses"):
        yield from (row["text"] for row in read_rows(folder / f"{name}.jsonl.gz"))
    for row in read_rows(folder / "arxiv_abstracts.jsonl.gz"):
        words = row["text"].split()
        yield from (" ".join(words[i : i + WORDS_OF_LINE]) for i in range(0, len(words) - WORDS_OF_LINE, STEP))


def make(folder: Path, root: Path, n: int, dict_size: int) -> None:
    """Write texts, embeddings, directions and codes, where they are not there yet."""
    place = root / "growth"
    place.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    n_known = min(60_000, n)
    if not (place / "texts.json").exists():
        _, known = embedded(folder / "arxiv_titles.jsonl.gz", n_known, root)
        texts = list(islice(dict.fromkeys(lines_of_text(folder)), n))
        counter = CountVectorizer(binary=True, dtype=np.float32)
        first = counter.fit_transform(texts[: len(known)])
        of_words = (first.T @ known) / first.sum(axis=0).T
        vectors = normalize(np.asarray(counter.transform(texts) @ of_words, dtype=np.float32))
        vectors[: len(known)] = known
        np.save(place / "vectors.npy", vectors)
        (place / "texts.json").write_text(json.dumps(texts))
    codes = place / f"codes-{dict_size}.npz"
    if not codes.exists():
        vectors = np.load(place / "vectors.npy")
        mean = vectors.mean(axis=0)
        directions = vectors[rng.choice(n_known, dict_size, replace=False)] - mean
        sae = with_directions(torch.from_numpy(directions / np.linalg.norm(directions, axis=1, keepdims=True)), TOP_K)
        sae.W_enc.data, sae.b_dec.data = sae.W_dec.data.t(), torch.from_numpy(mean)
        np.save(place / f"directions-{dict_size}.npy", sae.W_dec.detach().numpy())
        with torch.no_grad():
            sparse.save_npz(codes, sae.transform(vectors, batch_size=2048), compressed=False)


def measured(place: Path, n: int, dict_size: int) -> dict[str, Any]:
    """Interpret the first `n` texts."""
    sae = with_directions(torch.from_numpy(np.load(place / f"directions-{dict_size}.npy")), TOP_K)
    codes = sparse.csr_array(sparse.load_npz(place / f"codes-{dict_size}.npz")[:n])
    vectors = np.load(place / "vectors.npy", mmap_mode="r")[:n].copy()
    texts = json.loads((place / "texts.json").read_text())[:n]
    before, cpu = _memory("VmRSS"), _cpu()
    # the peak so far is of making these
    Path("/proc/self/clear_refs").write_text("5")
    features = interpret(sae, codes, texts, vectors)
    return {
        "n_texts": len(texts),
        "dict_size": dict_size,
        "seconds": features.summary["seconds"],
        "cpu_seconds": _cpu() - cpu,
        "before_mb": before,
        "peak_mb": _memory("VmHWM"),
        "n_labelled": features.summary["n_labelled"],
        "threads": torch.get_num_threads(),
    }


def _memory(name: str) -> float:
    """Return a field of this process's status in MB; the peak of `getrusage` may be that of its parent."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def table(rows: Rows) -> str:
    """Write a line per size."""
    lines = ["| texts | latents | labelled | seconds of processor time | peak memory, GB | of it inputs, GB |"]
    lines.append("|---" * 6 + "|")
    for row in sorted(rows, key=lambda row: (row["dict_size"], row["n_texts"])):
        counts = (f"{row[name]:,}" for name in ("n_texts", "dict_size", "n_labelled"))
        sizes = (f"{row[name] / 1024:.1f}" for name in ("peak_mb", "before_mb"))
        lines.append("| " + " | ".join([*counts, f"{row['cpu_seconds']:,.0f}", *sizes]) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()

"""Reconstruction against other libraries on the same embeddings: `python -m benchmarks.quality file.npy`.

Every peer runs at its own default learning rate and at each of a sweep; we run our defaults with several seeds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any

from benchmarks.run import HERE, PEERS, Worker

SWEEP = (5e-4, 1e-3, 2e-3, 4e-3)


def main() -> None:
    """Train everything asked for, one after another, and write `results/quality.json` and `results/quality.md`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("embeddings", type=Path, help="float32 array (n, act_size) in NumPy's format")
    parser.add_argument("--peers", type=Path, default=HERE / ".venv-peers" / "bin" / "python")
    parser.add_argument("--libraries", nargs="*", default=["sae_kedro", *PEERS])
    parser.add_argument("--variants", nargs="*", default=["topk", "batchtopk"])
    parser.add_argument("--dict-size", type=int, default=3072)
    parser.add_argument("--top-k", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--held-out", type=int, default=10_000, help="rows to judge on")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--sweep", nargs="*", type=float, default=SWEEP)
    parser.add_argument("--out", type=Path, default=HERE / "results" / "quality.json")
    args = parser.parse_args()
    sizes = {"dict_size": args.dict_size, "top_k": args.top_k, "epochs": args.epochs}
    about = {"corpus": args.embeddings.stem, "held_out": args.held_out}
    runs: list[dict[str, Any]] = json.loads(args.out.read_text()) if args.out.exists() else []
    for library in args.libraries:
        python = args.peers if library in PEERS else Path(sys.executable)
        worker = Worker(python, library, task="Quality", path=str(args.embeddings.resolve()), held_out=args.held_out)
        for variant in args.variants:
            if library in PEERS and variant not in PEERS[library]:
                continue
            for lr in [None, *args.sweep] if library in PEERS else [None]:
                for seed in range(args.seeds if library not in PEERS else 1):
                    what = {"variant": variant, "lr": lr, "seed": seed, **sizes}
                    run = {"library": library, **about, **what}
                    if any(run.items() <= done.items() for done in runs):
                        continue  # an interrupted run goes on where it stopped
                    runs.append(run | worker.ask("train", **what))
                    print(json.dumps(runs[-1]), flush=True)
                    args.out.write_text(json.dumps(runs, indent=1) + "\n")
        worker.close()
    args.out.with_suffix(".md").write_text(table(runs))
    print(table(runs))


def table(runs: list[dict[str, Any]]) -> str:
    """Write one line per setting, mean over seeds; a peer's best rate is the one with the lowest FVU."""
    lines = ["| corpus | dict | k | variant | library | learning rate | FVU | L0 | silent on held-out texts |"]
    lines.append("|---|---|---|---|---|---|---|---|---|")
    keys = ("corpus", "dict_size", "top_k", "variant", "library", "lr")
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for run in runs:
        groups.setdefault(tuple(run[key] for key in keys), []).append(run)
    for (corpus, dict_size, top_k, variant, library, lr), group in groups.items():
        fvu, l0, dead = (statistics.mean(run[key] for run in group) for key in ("fvu", "l0", "dead"))
        rate = "default" if lr is None else f"{lr:g}"
        cells = [corpus, dict_size, top_k, variant, library, rate, f"{fvu:.4f}", f"{l0:.2f}", f"{dead:.2%}"]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()

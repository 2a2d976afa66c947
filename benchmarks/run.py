"""Speed and memory against other libraries, in one run: `make bench`, or `make bench QUICK=1`.

Libraries take turns within every comparison; a figure is the median over all turns, its spread the distance between
the quartiles over the median. Peers run in an environment of their own.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
PEERS: dict[str, tuple[str, ...]] = {
    "sae_lens": ("topk", "batchtopk", "vanilla", "jumprelu"),
    "dictionary_learning": ("topk", "batchtopk", "vanilla", "jumprelu"),
    "hypothesaes": ("topk", "batchtopk"),
    "sparsify": ("topk",),
}
VARIANTS = ("topk", "batchtopk", "vanilla", "jumprelu")
SLOW = ("step_large", "end_to_end")
SIZES = ((512, 3072, 32), (4096, 6144, 32), (2048, 12_288, 64))
EPOCHS = {"sae_kedro": 2, "sae_lens": 10, "dictionary_learning": 10, "hypothesaes": 7, "sparsify": 6}
"""What each library's defaults need, about, for a held-out FVU of .25 on 150,000 titles."""
Row = dict[str, Any]


class Worker:
    """A `worker.py` process of one library."""

    versions: ClassVar[dict[str, str]] = {}

    def __init__(self, python: Path, library: str, **start: Any) -> None:
        self.library = library
        self.process = subprocess.Popen(
            [str(python), "-m", "benchmarks.worker"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        answer = self.ask("start", library=library, **start)
        self.versions[library] = answer["version"]

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        """Send a request and wait for the answer."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps({"do": do} | request) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"the worker of {self.library} ended at {do} {request}; set BENCHMARK_LOG to a file")
        reply: dict[str, Any] = json.loads(answer)
        return reply

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


class Bench:
    """One run: where the interpreters are, how long to measure, and the rows so far."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.ours, self.peers = Path(sys.executable), args.peers
        self.corpora: Path | None = args.corpora
        self.out: Path = args.out
        self.quick: bool = args.quick
        self.rows: list[Row] = []

    @contextlib.contextmanager
    def workers(self, libraries: list[str], **start: Any) -> Iterator[dict[str, Worker]]:
        """Start one worker per library, and end them all."""
        started: dict[str, Worker] = {}
        try:
            for library in libraries:
                python = self.peers if library in PEERS else self.ours
                started[library] = Worker(python, library, **start)
            yield started
        finally:
            for worker in started.values():
                worker.close()

    def add(self, benchmark: str, variant: str, size: str, ours: float, unit: str, **more: Any) -> None:
        """Note a row; `peers` and `floors` are figures in the same unit, higher is better for rates."""
        peers, floor = more.pop("peers", {}), more.pop("floor", None)
        faster = (lambda a, b: a / b) if unit.endswith("/s") else (lambda a, b: b / a)
        best = (max if unit.endswith("/s") else min)(peers.values()) if peers else None
        row = {
            "benchmark": benchmark,
            "variant": variant,
            "size": size,
            "unit": unit,
            "ours": ours,
            "peers": peers,
            "ratio_to_fastest_peer": None if best is None else round(faster(ours, best), 2),
            "ratio_to_floor": None if floor is None else round(1 / faster(ours, floor), 2),
            "spread": None,
        } | more
        self.rows.append(row)
        print(json.dumps(row), flush=True)
        self.write()

    def write(self) -> None:
        """Write `latest.json` and `latest.md`; rows that this run has not come to stay as they were."""
        import torch

        self.out.mkdir(parents=True, exist_ok=True)
        file = self.out / "latest.json"
        before = json.loads(file.read_text()) if file.exists() else {"versions": {}, "rows": []}
        done = {_what(row) for row in self.rows}
        rows = [row for row in before["rows"] if _what(row) not in done] + self.rows
        machine = {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count()}
        machine |= {"capability": torch.backends.cpu.get_cpu_capability(), "gpu": torch.cuda.is_available()}
        versions = before["versions"] | Worker.versions | {"torch": torch.__version__}
        file.write_text(json.dumps({"machine": machine, "versions": versions, "rows": rows}, indent=1) + "\n")
        (self.out / "latest.md").write_text(table(rows))

    # ── Training steps ───────────────────────────────────────────────────────────────────────────────────────────

    def step(self, sizes: tuple[tuple[int, int, int], ...]) -> None:
        """Samples per second of every variant at every size, and peak memory, libraries taking turns."""
        rounds, floors = (2 if self.quick else 3), ["encoder_product", "selection"]
        for batch_size, dict_size, top_k in sizes:
            size, n = f"batch {batch_size}, dict {dict_size}, k {top_k}", (16 if batch_size < 2048 else 4)
            for variant in VARIANTS:
                libraries = ["sae_kedro", *(peer for peer in PEERS if variant in PEERS[peer])]
                libraries += floors if variant == "topk" else []
                shape = {"variant": variant, "batch_size": batch_size, "dict_size": dict_size, "top_k": top_k}
                times: dict[str, list[float]] = {library: [] for library in libraries}
                last: dict[str, dict[str, Any]] = {}
                with self.workers(libraries, task="Step", **shape, warm_up=3) as workers:
                    for _ in range(rounds):
                        for library, worker in workers.items():
                            last[library] = worker.ask("measure", steps=n * (3 if library == "sae_kedro" else 1))
                            times[library] += last[library]["seconds"]
                rates = {library: batch_size / statistics.median(seconds) for library, seconds in times.items()}
                if variant == "topk":
                    seconds = sum(batch_size / rates[floor] for floor in floors)
                    floor = batch_size / seconds
                peers = {library: round(rates[library]) for library in libraries if library in PEERS}
                self.add(
                    "training step",
                    variant,
                    size,
                    round(rates["sae_kedro"]),
                    "samples/s",
                    peers=peers,
                    floor=floor,
                    spread=_spread(times["sae_kedro"]),
                    l0=round(last["sae_kedro"]["l0"], 2),
                    encoder_product_ms=round(1e3 * batch_size / rates["encoder_product"], 2)
                    if variant == "topk"
                    else None,
                    selection_ms=round(1e3 * batch_size / rates["selection"], 2) if variant == "topk" else None,
                )
                if batch_size == 4096:
                    memory = {library: round(last[library]["peak_mb"]) for library in ("sae_kedro", *peers)}
                    added = {key: round(last[key]["peak_mb"] - last[key]["before_mb"]) for key in memory}
                    self.add("peak memory", variant, size, memory.pop("sae_kedro"), "MB", peers=memory, added=added)

    def growth(self) -> None:
        """Seconds per step of our topk as the dictionary doubles, and as k grows."""
        for dict_size, top_k in ((6144, 32), (12_288, 32), (24_576, 32), (49_152, 32), (6144, 128)):
            shape = {"variant": "topk", "batch_size": 4096, "dict_size": dict_size, "top_k": top_k}
            with self.workers(["sae_kedro"], task="Step", **shape, warm_up=3) as workers:
                seconds = workers["sae_kedro"].ask("measure", steps=8 if self.quick else 15)["seconds"]
            median = round(statistics.median(seconds), 4)
            self.add("growth", "topk", f"batch 4096, dict {dict_size}, k {top_k}", median, "s", spread=_spread(seconds))

    def gpu(self) -> None:
        """Our training step at a size for a GPU, for the peers' adapters are for the CPU."""
        import torch

        if not torch.cuda.is_available():
            print("gpu: not run, there is none here")
            return
        shape = {"act_size": 768, "batch_size": 8192, "dict_size": 49_152, "top_k": 64, "device": "cuda"}
        for variant, precision in itertools.product(VARIANTS, ("highest", "high")):
            start = {"task": "Step", "variant": variant, "matmul_precision": precision, **shape, "warm_up": 10}
            with self.workers(["sae_kedro"], **start) as workers:
                seconds = workers["sae_kedro"].ask("measure", steps=50)["seconds"]
            rate, size = round(8192 / statistics.median(seconds)), "d 768, batch 8192, dict 49152, k 64"
            self.add("gpu", variant, f"{size}, {precision}", rate, "samples/s", spread=_spread(seconds))

    # ── Encoding ─────────────────────────────────────────────────────────────────────────────────────────────────

    def encoding(self) -> None:
        """Texts per second against the library's defaults, 256 texts a call."""
        with self.workers(["products"], task="Products") as workers:
            product = {dtype: workers["products"].ask("measure", dtype=dtype) for dtype in ("float32", "bfloat16")}
        gflops = {dtype: round(answer["gflop_per_s"]) for dtype, answer in product.items()}
        for corpus, n_texts in (("arxiv_titles", 4096), ("arxiv_abstracts", 256)):
            if self.corpora is None:
                continue
            path = str(self.corpora / f"{corpus}.jsonl.gz")
            times: dict[str, list[float]] = {"sae_kedro": [], "256 a call": [], "one call": []}
            with (
                self.workers(["sae_kedro"], task="Encode", corpus=path, n_texts=n_texts) as a,
                self.workers(
                    ["sentence_transformers"], task="Encode", corpus=path, n_texts=n_texts, n_per_call=256
                ) as b,
                self.workers(["sentence_transformers"], task="Encode", corpus=path, n_texts=n_texts) as c,
            ):
                turns = dict(zip(times, (*a.values(), *b.values(), *c.values()), strict=True))
                for _ in range(2 if self.quick else 3):
                    for name, worker in turns.items():
                        answer = worker.ask("measure")
                        times[name] += answer["seconds"]
                cosines = turns["sae_kedro"].ask("compare")
            rates = {name: round(n_texts / statistics.median(seconds), 1) for name, seconds in times.items()}
            useful = round(answer["gflop"] / statistics.median(times["sae_kedro"]))
            self.add(
                "encoding",
                "",
                corpus,
                rates.pop("sae_kedro"),
                "texts/s",
                peers=rates,
                spread=_spread(times["sae_kedro"]),
                useful_gflop_per_s=useful,
                product_gflop_per_s=gflops,
                **cosines,
            )

    # ── End to end ───────────────────────────────────────────────────────────────────────────────────────────────

    def end_to_end(self, n_texts: int, target: float = 0.25) -> None:
        """Seconds from texts (cold) or embeddings (warm) to a TopK SAE whose held-out FVU meets the target.

        Every library trains with its defaults, for the number of epochs in `EPOCHS`; those that miss are named apart.
        Cold adds the seconds in which all texts were encoded just before, for peers by one call of
        SentenceTransformer.encode.
        """
        if self.corpora is None:
            return
        corpus = str(self.corpora / "arxiv_titles.jsonl.gz")
        warm, reached, encoding = {}, {}, {}
        with self.workers(["sentence_transformers"], task="Encode", corpus=corpus, n_texts=n_texts) as workers:
            encoding["peers"] = workers["sentence_transformers"].ask("measure")["seconds"][0]
        with tempfile.TemporaryDirectory() as data_root:
            vectors = f"{data_root}/vectors.npy"
            start = {"task": "EndToEnd", "corpus": corpus, "n_texts": n_texts, "data_root": data_root}
            for library, n_epochs in EPOCHS.items():
                with self.workers([library], **start) as workers:
                    worker = workers[library]
                    if library == "sae_kedro":
                        encoding["sae_kedro"] = worker.ask("encode")["seconds"][0]
                        worker.ask("save", path=vectors)
                    else:
                        worker.ask("load", path=vectors)
                    answer = worker.ask("train", epochs=n_epochs)
                reached[library], warm[library] = round(answer["fvu"], 4), round(answer["seconds"][0], 1)
                print(library, n_epochs, answer, flush=True)
        size = f"{n_texts} titles, dict 3072, k 32, FVU <= {target}"
        ours, met = warm.pop("sae_kedro"), {key: warm[key] for key in warm if reached[key] <= target}
        more = {"epochs": EPOCHS, "fvu": reached, "missed": {key: warm[key] for key in warm if key not in met}}
        self.add("end to end, warm", "topk", size, ours, "s", peers=met, **more)
        cold = {key: round(seconds + encoding["peers"], 1) for key, seconds in met.items()}
        waited = {key: round(seconds, 1) for key, seconds in encoding.items()}
        whole = round(ours + encoding["sae_kedro"], 1)
        self.add("end to end, cold", "topk", size, whole, "s", peers=cold, encoding_seconds=waited, **more)

    # ── Start-up ─────────────────────────────────────────────────────────────────────────────────────────────────

    def start_up(self) -> None:
        """Seconds until commands answer, and until a run on a warm cache shows its first line of progress."""
        kedro = str(self.ours.parent / "kedro")
        for command in (["info"], ["sae", "list"]):
            seconds = []
            for _ in range(5):
                start = time.perf_counter()
                subprocess.run([kedro, *command], cwd=ROOT, check=True, capture_output=True)
                seconds.append(time.perf_counter() - start)
            median = round(statistics.median(seconds), 2)
            self.add("start-up", "", f"kedro {' '.join(command)}", median, "s", spread=_spread(seconds))
        with tempfile.TemporaryDirectory() as data_root:
            run = [kedro, "run", "--env", "test", "--params", f"data_root={data_root}"]
            subprocess.run(run, cwd=ROOT, check=True, capture_output=True)
            seconds = []
            for _ in range(3):
                start = time.perf_counter()
                process = subprocess.Popen(run, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
                assert process.stderr is not None
                next(line for line in process.stderr if "steps/s" in line)
                seconds.append(time.perf_counter() - start)
                process.communicate()
        median = round(statistics.median(seconds), 2)
        self.add("start-up", "", "kedro run, first line of progress", median, "s", spread=_spread(seconds))


def _what(row: Row) -> tuple[str, str, str]:
    return row["benchmark"], row["size"], row["variant"]


def _spread(seconds: list[float]) -> float | None:
    if len(seconds) < 4:
        return None
    low, middle, high = statistics.quantiles(seconds, n=4)
    return round((high - low) / middle, 3)


def table(rows: list[Row]) -> str:
    """Write the rows as Markdown."""
    lines = ["| benchmark | variant | size | ours | peers | times the fastest peer | of the floor | spread |"]
    lines.append("|---|---|---|---|---|---|---|---|")
    for row in rows:
        peers = ", ".join(f"{name} {value:,}" for name, value in row["peers"].items())
        cells = [row["benchmark"], row["variant"], row["size"], f"{row['ours']:,} {row['unit']}", peers]
        cells += [str(row[key] if row[key] is not None else "") for key in _RATIOS]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


_RATIOS = ("ratio_to_fastest_peer", "ratio_to_floor", "spread")


def main() -> None:
    """Run the benchmarks asked for and write `results/latest.json` and `results/latest.md`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", type=Path, default=HERE / ".venv-peers" / "bin" / "python", help="their interpreter")
    parser.add_argument("--corpora", type=Path, help="folder with arxiv_titles.jsonl.gz and arxiv_abstracts.jsonl.gz")
    parser.add_argument("--quick", action="store_true", help="under 15 minutes: two sizes, fewer turns, fewer texts")
    parser.add_argument("--only", nargs="*", help="step, step_large, growth, gpu, encoding, end_to_end, start_up")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    args = parser.parse_args()
    bench = Bench(args)
    tasks = {
        "step": lambda: bench.step(SIZES[:2]),
        "step_large": lambda: bench.step(SIZES[2:]),
        "growth": bench.growth,
        "gpu": bench.gpu,
        "encoding": bench.encoding,
        "end_to_end": lambda: bench.end_to_end(150_000),
        "start_up": bench.start_up,
    }
    for name in args.only or [name for name in tasks if not (args.quick and name in SLOW)]:
        tasks[name]()
    print(table(bench.rows))


if __name__ == "__main__":
    main()

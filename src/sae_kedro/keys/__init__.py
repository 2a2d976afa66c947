"""The one table of configuration keys, put together from a file per pipeline: whatever lies in this folder joins it."""

from __future__ import annotations

from pydantic import create_model

from sae_kedro.discovery import submodules
from sae_kedro.validation import INCIDENTAL, Table

TABLES: dict[str, type[Table]] = {name: module.Keys for name, module in submodules(__name__).items()}
"""The keys that each pipeline brings, by its name."""
ExperimentConfig: type[Table] = create_model(
    "ExperimentConfig",
    __base__=tuple(TABLES.values()),
    __doc__="Every key of a run. `null` means: derived, or the library's own choice, as the meaning says.",
)
NOT_DECISIVE = {key for key, field in ExperimentConfig.model_fields.items() if INCIDENTAL in field.metadata}
"""Keys that the weights of a trained SAE do not depend on, or only by the embeddings."""

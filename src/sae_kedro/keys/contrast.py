"""Keys that say what is set against what."""

from __future__ import annotations

from pydantic import Field, field_validator

from sae_kedro.validation import Incidental, Table


class Keys(Table):
    """Groups of texts, and what is held equal between them. The classes of `label_column` are groups, too."""

    contrast_path: Incidental[str | None] = Field(
        None, min_length=1, description="another corpus, to be set against that of dataset_path; null: none"
    )
    target_column: Incidental[str | None] = Field(
        None, min_length=1, description="column that holds a number, in place of groups; null: none"
    )
    control_columns: Incidental[list[str] | None] = Field(
        None,
        min_length=1,
        description="columns held equal beside the length of texts, joined by +; null: none",
    )
    unit_column: Incidental[str | None] = Field(
        None, min_length=1, description="column of authors or documents, each of which counts once; null: every text"
    )

    @field_validator("control_columns", mode="before")
    @classmethod
    def _control_columns(cls, value: object) -> object:
        """Split `year+country`, because `--params` cannot pass a list."""
        return [part.strip() for part in value.split("+")] if isinstance(value, str) else value

"""Keys that say what travels with the codes of a corpus."""

from __future__ import annotations

from pydantic import Field, field_validator

from sae_kedro.validation import Incidental, Table


class Keys(Table):
    """Columns of the corpus."""

    id_column: Incidental[str | None] = Field(
        None, min_length=1, description="column that identifies a row; it stands first in the table of codes"
    )
    columns: Incidental[list[str] | None] = Field(
        None, min_length=1, description="other columns that travel with the codes, joined by + on the command line"
    )

    @field_validator("columns", mode="before")
    @classmethod
    def _columns(cls, value: object) -> object:
        """Split `author+year`, because `--params` cannot pass a list."""
        return [part.strip() for part in value.split("+")] if isinstance(value, str) else value

"""Keys that say what is compared."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge
from pydantic import Field, field_validator

from sae_kedro.validation import Incidental, Table


class Keys(Table):
    """Variants and sparsities."""

    sae_types: Incidental[list[str] | None] = Field(
        ["vanilla", "topk", "batchtopk", "jumprelu"],
        min_length=1,
        description="variants to compare, joined by + on the command line; null: every installed one",
    )
    top_ks: Incidental[list[Annotated[int, Ge(1)]]] = Field(
        [16, 32, 64], min_length=1, description="values of top_k to compare, such as 16+32 on the command line"
    )

    @field_validator("sae_types", "top_ks", mode="before")
    @classmethod
    def _listed(cls, value: object) -> object:
        """Split `16+32`, because `--params` cannot pass a list, and take a single value for a list of one."""
        if isinstance(value, str):
            return [
                int(part) if part.isdecimal() and len(part) < 20 else part for part in value.replace(" ", "").split("+")
            ]
        return [value] if isinstance(value, (int, float)) else value

"""Keys that say what is compared."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any

from annotated_types import Ge
from pydantic import Field, field_validator

from sae_kedro.errors import shown
from sae_kedro.validation import Incidental, Table


class Keys(Table):
    """Variants, sparsities, and whatever else is varied."""

    sae_types: Incidental[list[str] | None] = Field(
        ["vanilla", "topk", "batchtopk", "jumprelu"],
        min_length=1,
        description="variants to compare, joined by + on the command line; null: every installed one",
    )
    top_ks: Incidental[list[Annotated[int, Ge(1)]]] = Field(
        [16, 32, 64], min_length=1, description="values of top_k to compare, such as 16+32 on the command line"
    )
    sweep: Incidental[dict[str, list[Any]]] = Field(
        {},
        description="values of other keys of SAE and training to compare; dict_size:512+1024;seed:0+1 on the command "
        "line",
    )

    @field_validator("sae_types", "top_ks", mode="before")
    @classmethod
    def _listed(cls, value: object) -> object:
        """Split `16+32`, because `--params` cannot pass a list, and take a single value for a list of one."""
        return _values(value) if isinstance(value, (str, int, float)) else value

    @field_validator("sweep", mode="before")
    @classmethod
    def _mapped(cls, value: object) -> object:
        """Split `dict_size:512+1024;seed:0+1`, too, and what a mapping has for a list."""
        if isinstance(value, str):
            pairs = [_pair(part) for part in value.split(";")]
        else:
            pairs = list(value.items()) if isinstance(value, Mapping) else [("", value)]
        swept = {key: _values(values) for key, values in pairs}
        if len(swept) < len(pairs) or not all(isinstance(key, str) and key and swept[key] for key in swept):
            raise ValueError(
                f"sweep={shown(value)} is not allowed: it must be keys, each once and with values, such as "
                "dict_size:512+1024;seed:0+1"
            )
        return swept


def _pair(part: str) -> tuple[str, object]:
    key, *values = re.split("[:=]", part.strip(), maxsplit=1)
    return key.strip(), values[0] if any(values) else []


def _values(given: object) -> list[Any]:
    """Return a list, what a text joined by + holds, or a single value as a list of one."""
    if isinstance(given, list):
        return given
    return [_value(part.strip()) for part in given.split("+")] if isinstance(given, str) else [given]


def _value(text: str) -> object:
    """Read a value as `--params` would: a number, true, false or null, and else a text."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text

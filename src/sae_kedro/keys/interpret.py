"""Keys of the language model that labels latents, where one is asked for."""

from __future__ import annotations

from urllib.parse import urlsplit

from pydantic import Field, field_validator

from sae_kedro.errors import shown
from sae_kedro.validation import Incidental, Table


class Keys(Table):
    """Whom to ask, how much. The API key is no key of this table: LLM_API_KEY or credentials.yml have it."""

    llm_base_url: Incidental[str | None] = Field(
        None,
        min_length=1,
        description="OpenAI-compatible endpoint whose model labels latents, such as http://localhost:11434/v1; null: "
        "keywords do, and nothing is sent anywhere",
    )
    llm_model: Incidental[str | None] = Field(None, min_length=1, description="model of llm_base_url")
    llm_latents: Incidental[int | None] = Field(
        100,
        ge=1,
        description="latents that llm_model labels, the most frequent first; null: all with enough texts",
    )
    llm_texts: Incidental[int] = Field(
        20,
        ge=0,
        le=200,
        description="texts of each kind (strongest, near misses, random) that llm_model grades to score a label; 0: no "
        "scores",
    )
    llm_token_limit: Incidental[int] = Field(
        3_000_000, ge=1, description="a run that needs more tokens of llm_model, by estimate, ends before the first"
    )
    llm_concurrency: Incidental[int] = Field(4, ge=1, le=256, description="questions that llm_model gets at a time")
    llm_temperature: Incidental[float | None] = Field(
        0.0, ge=0, le=2, description="temperature of llm_model; null: its own, for models that take no other"
    )

    @field_validator("llm_base_url")
    @classmethod
    def _as_endpoints_are(cls, value: str | None) -> str | None:
        """Refuse what is no address, and one that holds a secret, which would be written down with the parameters."""
        if value is None:
            return None
        try:
            parts = urlsplit(value)
            port_fits = parts.port is None or parts.port > 0
        except ValueError:
            raise ValueError(_NO_ADDRESS.format(shown(value))) from None
        if parts.username is not None or parts.query or parts.fragment:
            raise ValueError(
                "llm_base_url holds a user name or a query, and is written down with the parameters; give the API key "
                "in LLM_API_KEY, or as llm: {api_key: ...} in conf/local/credentials.yml"
            )
        if parts.scheme not in ("http", "https") or not parts.hostname or not port_fits or " " in value:
            raise ValueError(_NO_ADDRESS.format(shown(value)))
        return value


_NO_ADDRESS = "llm_base_url={} is not allowed: it must be an address such as https://api.openai.com/v1"

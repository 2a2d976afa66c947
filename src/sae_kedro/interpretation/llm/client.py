"""A language model behind an OpenAI-compatible endpoint."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from sae_kedro.errors import InputError, nearest, shown
from sae_kedro.interpretation.llm.prompts import Unusable

KEY_VARIABLE = "LLM_API_KEY"
_WHERE = f"{KEY_VARIABLE}, or llm: {{api_key: ...}} in conf/local/credentials.yml"
CONNECT_SECONDS = 10
LONGEST_ANSWER = 1000
"""Tokens: room for a model that thinks first, and an end for one that repeats itself."""
FIRST_QUESTION = "Answer with the word yes."


class NoAnswer(Exception):
    """A call that failed. Its text is the reason, in words that can be counted.

    Args:
        reason: What happened.
        status: What HTTP calls it; None if it was not answered.
        detail: What the endpoint says of it.
    """

    def __init__(self, reason: str, status: int | None = None, detail: str = "") -> None:
        super().__init__(reason)
        self.status, self.detail = status, detail


class _Message(BaseModel):
    content: str | None = None
    refusal: str | None = None


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None


class _Completion(BaseModel):
    choices: list[_Choice] = Field(min_length=1)


@dataclass(frozen=True)
class LanguageModel:
    """A model that answers questions.

    Raises:
        InputError: The package openai is not installed, or the API key is none.
    """

    base_url: str
    name: str
    api_key: str | None = field(default=None, repr=False)
    temperature: float | None = 0.0
    """None: not sent."""
    concurrency: int = 4
    """Questions at a time."""
    timeout: float = 120
    """Seconds that an answer may take."""
    retries: int = 3
    """Of a call that failed and may not fail again, each after a longer wait, or the one that the endpoint asks for."""

    def __post_init__(self) -> None:
        key = self.api_key or ""
        if not key.isascii() or not key.isprintable() or " " in key:
            raise InputError(f"the API key holds characters that no key has; look at {_WHERE}")
        assert self._client is not None  # made here, not by several threads at once

    @cached_property
    def _client(self) -> Any:
        try:
            from openai import OpenAI, Timeout
        except ImportError as error:
            raise InputError(
                f"llm_base_url needs the package openai ({error}); install it with `pip install 'sae-kedro[llm]'`"
            ) from None
        timeout = Timeout(self.timeout, connect=min(CONNECT_SECONDS, self.timeout))
        key = self.api_key or "none"  # the client insists on one, local endpoints do not
        client = OpenAI(base_url=self.base_url, api_key=key, timeout=timeout, max_retries=self.retries)
        client.organization = client.project = None  # taken from the environment, and of another endpoint perhaps
        return client

    def ask(self, prompt: str) -> str:
        """Return the answer to a prompt.

        Raises:
            NoAnswer: The call failed, again and again where that may help.
            Unusable: The model refuses, or does not come to an end.
        """
        from openai import OpenAIError

        asked: dict[str, Any] = {"model": self.name, "messages": [{"role": "user", "content": prompt}]}
        asked["max_completion_tokens"] = LONGEST_ANSWER
        if self.temperature is not None:
            asked["temperature"] = self.temperature
        try:
            response = self._client.chat.completions.with_raw_response.create(**asked)
            choice = _Completion.model_validate_json(response.text).choices[0]
        except OpenAIError as error:
            raise self._failure(error) from None
        except ValidationError:
            raise NoAnswer("no chat completion") from None
        if choice.message.refusal or choice.finish_reason == "content_filter":
            raise Unusable("refused")
        if choice.finish_reason == "length":
            raise Unusable("too long")
        return choice.message.content or ""

    def check(self) -> None:
        """Ask one small question, to find out early what cannot work.

        Raises:
            InputError: What is wrong, in one sentence.
        """
        try:
            replace(self, retries=1, timeout=min(60, self.timeout)).ask(FIRST_QUESTION)
        except Unusable:
            pass
        except NoAnswer as failure:
            raise InputError(self._sentence(failure)) from None

    def _failure(self, error: Exception) -> NoAnswer:
        from openai import APIConnectionError, APIStatusError, APITimeoutError

        if isinstance(error, APIStatusError):
            body = error.body if isinstance(error.body, dict) else {}
            told = self._without_key(str(body.get("message") or ""))
            return NoAnswer(f"HTTP {error.status_code}", error.status_code, shown(told) if told else "")
        if isinstance(error, APITimeoutError):
            return NoAnswer("no answer in time")
        if isinstance(error, APIConnectionError):
            return NoAnswer("no connection")
        return NoAnswer(type(error).__name__)

    def _without_key(self, told: str) -> str:
        """Endpoints repeat a key that they do not know."""
        return told.replace(self.api_key, "...") if self.api_key else told

    def _sentence(self, failure: NoAnswer) -> str:
        place = f"llm_base_url={shown(self.base_url)}"
        told = f": {failure.detail}" if failure.detail else ""
        if failure.status in (401, 403):
            what = "does not accept the API key in" if self.api_key else "asks for an API key; set"
            return f"{place} {what} {_WHERE}"
        if failure.status == 404:
            names = self._models()
            which = nearest(self.name, names) or (f"; it has {', '.join(names[:10])}" if names else "")
            return f"{place} does not know llm_model={shown(self.name)}{which or told + '; most addresses end in /v1'}"
        if failure.status is not None:
            hint = "; set llm_temperature=null" if "temperature" in failure.detail else ""
            return f"{place} answers llm_model={shown(self.name)} with {failure}{told}{hint}"
        return f"{place} cannot be used, {failure}; is it running, and is this its address?"

    def _models(self) -> list[str]:
        from openai import OpenAIError

        try:
            return sorted(str(model.id) for model in self._client.models.list().data)
        except (OpenAIError, AttributeError, TypeError):  # not every endpoint lists them, or in this form
            return []


def language_model(cfg: dict[str, Any]) -> LanguageModel | None:
    """Return the language model that a configuration asks for, with the key of the environment, or None.

    Args:
        cfg: Reads `llm_base_url`, `llm_model`, `llm_temperature`, `llm_concurrency`.

    Raises:
        InputError: A model is not named, its key is none, or the package openai is not installed.
    """
    if cfg["llm_base_url"] is None:
        return None
    if cfg["llm_model"] is None:
        raise InputError(f"llm_base_url={shown(cfg['llm_base_url'])} needs a model; name it as llm_model")
    return LanguageModel(
        cfg["llm_base_url"],
        cfg["llm_model"],
        os.environ.get(KEY_VARIABLE, "").strip() or None,
        cfg["llm_temperature"],
        cfg["llm_concurrency"],
    )

"""What Kedro's `credentials.yml` holds, for libraries that know nothing of Kedro."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sae_kedro.errors import InputError
from sae_kedro.interpretation.llm.client import KEY_VARIABLE


@contextmanager
def key_in_environment(credentials: Mapping[str, Any]) -> Iterator[None]:
    """Let `llm: {api_key: ...}` stand for `LLM_API_KEY` while a run lasts, unless that is set.

    Raises:
        InputError: `llm` holds something else.
    """
    given = credentials.get("llm")
    if given is None or os.environ.get(KEY_VARIABLE):
        yield
        return
    if not isinstance(given, Mapping) or not isinstance(given.get("api_key"), str):
        raise InputError("llm in credentials.yml is not allowed: it must be a mapping with a text api_key")
    os.environ[KEY_VARIABLE] = given["api_key"]
    try:
        yield
    finally:
        os.environ.pop(KEY_VARIABLE, None)

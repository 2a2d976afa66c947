"""What goes wrong with datasets of the Hugging Face Hub: tried again where that helps, told in a sentence where not."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from sae_kedro.errors import InputError

_WAITS = (1, 2, 4, 8)
"""Seconds between tries, as `huggingface_hub` waits where it tries again itself."""
_Result = TypeVar("_Result")


def patiently(action: Callable[[], _Result]) -> _Result:
    """Ask the Hub, again where it says that it is busy or breaks off, a few times."""
    for wait in _WAITS:
        try:
            return action()
        except _http_errors() as error:
            if (asked := _passing(error)) is None:
                raise
            time.sleep(max(wait, asked))
    return action()


@contextmanager
def told(name: str) -> Iterator[None]:
    """Turn what goes wrong with a dataset into a sentence.

    Raises:
        InputError: Something went wrong.
    """
    from datasets.exceptions import DatasetNotFoundError, DatasetsError
    from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError

    page = f"https://huggingface.co/datasets/{name}"
    login = "log in with `hf auth login` or set HF_TOKEN"
    try:
        yield
    except InputError:
        raise
    except (*_http_errors(), ValueError, RuntimeError, DatasetsError) as error:
        said = " ".join(str(error).split())
        if isinstance(error, GatedRepoError) or (isinstance(error, DatasetNotFoundError) and "gated" in said):
            sentence = f" is gated: ask for access at {page}, and {login}"
        elif isinstance(error, RepositoryNotFoundError | HFValidationError | DatasetNotFoundError):
            sentence = f" is neither a local file nor a public Hub dataset; if it is a private one, {page}, {login}"
        elif isinstance(error, ConnectionError | TimeoutError) or _passing(error) is not None:
            sentence = f": the Hub does not answer ({said}); what is encoded is kept, so run again to go on"
        else:
            sentence = f": {said}"
        raise InputError(f"dataset_path={name!r}{sentence}") from error


def _http_errors() -> tuple[type[Exception], ...]:
    """Return what requests may raise; it depends on the HTTP client that this version of `huggingface_hub` uses."""
    from huggingface_hub.errors import HfHubHTTPError

    return (OSError, *HfHubHTTPError.__bases__)


def _passing(error: BaseException) -> float | None:
    """Return how many seconds the Hub asks to wait, 0 where it does not say, or None for an error that will stay."""
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    if isinstance(error, LocalEntryNotFoundError) and isinstance(error.__cause__, HfHubHTTPError):
        error = error.__cause__
    if isinstance(error, HfHubHTTPError):
        after, status = error.response.headers.get("Retry-After", ""), error.response.status_code
        return (float(after) if after.isdigit() else 0.0) if status == 429 or status >= 500 else None
    return 0.0 if isinstance(error, HfHubHTTPError.__bases__[0]) else None

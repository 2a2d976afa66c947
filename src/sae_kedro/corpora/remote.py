"""Files that a URL names, where an installed backend of fsspec finds them: `s3://`, `gs://`, `https://`, ..."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from sae_kedro.errors import InputError, nearest


def is_url(path: str) -> bool:
    """Say whether a path is a URL, `chained::` ones included."""
    return "://" in path


def is_local(file: Path) -> bool:
    """Say whether a file can be opened by its path."""
    return isinstance(file, Path)


@contextmanager
def told(path: str) -> Iterator[None]:
    """Turn what goes wrong with a URL into a sentence.

    Raises:
        InputError: Something went wrong.
    """
    from aiohttp import ClientError

    try:
        yield
    except ImportError as error:
        raise InputError(f"dataset_path={path!r} cannot be opened: {error}") from error
    except (OSError, ClientError) as error:
        raise InputError(f"dataset_path={path!r} cannot be read: {error or type(error).__name__}") from error


def listed(path: str) -> list[Path]:
    """List the files behind the URL of a file, a folder or a glob, sorted by name.

    Raises:
        InputError: No backend knows it or reaches it, or nothing is there.
    """
    import fsspec
    from upath import UPath

    scheme = path.partition("://")[0].rpartition("::")[2]
    if scheme not in (known := fsspec.available_protocols()):
        raise InputError(
            f"dataset_path={path!r} starts with {scheme}://, which no installed backend of fsspec knows"
            f"{nearest(scheme, known)}"
        )
    with told(path):
        system, place = fsspec.core.url_to_fs(path)
        found = [place] if system.isfile(place) else _below(system, place)
        if not found:
            raise InputError(f"dataset_path={path!r} does not exist, or holds no file")
        return [cast(Path, UPath(system.unstrip_protocol(file), **system.storage_options)) for file in sorted(found)]


def _below(system: Any, place: str) -> list[str]:
    found = system.find(place) if system.isdir(place) else system.glob(place)
    return [file for file in found if system.isfile(file)]

"""Files of the Hugging Face Hub, of which only the bytes that are wanted are fetched."""

from __future__ import annotations

import hashlib
import io
import os
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from sae_kedro.corpora.hub_faults import patiently
from sae_kedro.errors import InputError

LARGEST_REQUEST = 1 << 20
SMALLEST_GAP = 1 << 13
"""Bytes between two wanted ranges below which they are fetched as one."""
_TAIL = 1 << 16  # what pyarrow reads to find a footer


class Version(NamedTuple):
    """What tells one version of a file from another."""

    size: int
    tag: str
    commit: str

    def __str__(self) -> str:
        return f"{self.size:,} bytes with ETag {self.tag} at commit {self.commit}"


class HubFile(io.RawIOBase):
    """A file at one commit of a dataset, for readers that seek. All that is read of it is of one version.

    Args:
        name: The dataset.
        commit: The commit.
        path: The path in the repository.
        keep: A folder and a number in it. What is fetched of the wanted ranges is kept there until it is dropped, so
            that a run that goes on fetches nothing twice. None: nothing is kept.

    Raises:
        InputError: The file is not what it was at the first request.
    """

    def __init__(self, name: str, commit: str, path: str, keep: tuple[Path, int] | None = None) -> None:
        from huggingface_hub import hf_hub_url

        self.name, self._commit, self._keep = f"{name}/{path}", commit, keep
        self._url = hf_hub_url(name, path, repo_type="dataset", revision=commit)
        self._version: Version | None = None
        self._position = 0
        self._wanted: list[tuple[int, int]] = []
        self._piece = lru_cache(maxsize=32)(self._kept)  # columns are read side by side
        self.size = _version_of(self._url, commit).size
        self._tail = self._fetch(max(0, self.size - _TAIL), self.size) if self.size else b""

    def want(self, ranges: Iterable[tuple[int, int]]) -> None:
        """Say which ranges will be read, so that each request asks for as much of them as it may, and no more."""
        joined: list[tuple[int, int]] = []
        for start, end in sorted(ranges):
            if joined and start - joined[-1][1] <= SMALLEST_GAP:
                joined[-1] = joined[-1][0], max(end, joined[-1][1])
            else:
                joined.append((start, end))
        self._wanted = [
            (place, min(place + LARGEST_REQUEST, end))
            for start, end in joined
            for place in range(start, end, LARGEST_REQUEST)
        ]

    def drop(self, before: int) -> None:
        """Keep no longer what lies before a position, nor what lies in files with a lower number."""
        if before >= self.size:
            self._piece.cache_clear()
        if self._keep is None:
            return
        folder, number = self._keep
        for path in folder.glob("*.part"):
            part, _, end = path.stem.split("-")[:3]
            if (int(part), int(end)) <= (number, before):
                path.unlink(missing_ok=True)

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer, but at the end of the file."""
        view = memoryview(buffer).cast("B")
        start, end = self._position, min(self._position + len(view), self.size)
        while self._position < end:
            data = self._at(self._position, end)
            view[self._position - start : self._position - start + len(data)] = data
            self._position += len(data)
        return self._position - start

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a position."""
        self._position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        return self._position

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def seekable(self) -> bool:
        """Say that it can be read anywhere."""
        return True

    def _at(self, position: int, end: int) -> bytes:
        """Return some bytes from a position on, and none from `end` on."""
        tail = self.size - len(self._tail)
        if position >= tail:
            return self._tail[position - tail : end - tail]
        index = bisect_right(self._wanted, position, key=lambda range: range[0])
        if index and position < self._wanted[index - 1][1]:
            first, last = self._wanted[index - 1]
            return self._piece(first, last)[position - first : end - first]
        return self._fetch(position, min(end, self._wanted[index][0] if index < len(self._wanted) else end))

    def _kept(self, start: int, end: int) -> bytes:
        """Return a wanted range from the disk, or fetch it and keep it there."""
        if self._keep is None:
            return self._fetch(start, end)
        folder, number = self._keep
        path = folder / f"{number}-{start}-{end}-{hashlib.sha256(str(self._version).encode()).hexdigest()[:16]}.part"
        with suppress(OSError):
            if len(data := path.read_bytes()) == end - start:
                return data
        data = self._fetch(start, end)
        with suppress(OSError):  # it goes without
            write_whole(path, data)
        return data

    def _fetch(self, start: int, end: int) -> bytes:
        """Fetch a range."""
        from huggingface_hub.utils import (  # type: ignore[attr-defined]
            build_hf_headers,
            hf_raise_for_status,
            http_backoff,
        )

        headers = {"Range": f"bytes={start}-{end - 1}", "Accept-Encoding": "identity", **build_hf_headers()}
        response = http_backoff("GET", self._url, headers=headers, timeout=30)
        hf_raise_for_status(response)
        data: bytes = response.content
        total = response.headers.get("Content-Range", "").rpartition("/")[2]
        size = int(total or len(data))
        if not total:  # a host that knows no ranges
            data = data[start:end]
        answers = (response, *response.history)  # of the host with the bytes, and of the Hub, which knows the file
        said = {name.lower(): value for answer in answers for name, value in answer.headers.items()}
        tag = said.get("x-linked-etag") or response.headers.get("ETag") or ""
        version = Version(size, tag.removeprefix("W/").strip('"'), said.get("x-repo-commit", self._commit))
        before = self._version or version._replace(size=self.size)
        if version != before:
            raise _changed(self.name, before, version, "is of the old version, and is kept")
        self._version = version
        if len(data) != end - start:
            raise OSError(f"{self.name}: {end - start:,} bytes were asked for, and {len(data):,} came")
        return data


@contextmanager
def unchanged(name: str, commit: str, path: str) -> Iterator[None]:
    """Make sure that a file that others read is the same at the end as at the beginning.

    Raises:
        InputError: It is another one.
    """
    from huggingface_hub import hf_hub_url

    url = hf_hub_url(name, path, repo_type="dataset", revision=commit)
    before = _version_of(url, commit)
    yield
    if (after := _version_of(url, commit)) != before:
        raise _changed(f"{name}/{path}", before, after, "may hold both; `kedro sae cache` lists and removes caches")


def _version_of(url: str, commit: str) -> Version:
    from huggingface_hub import get_hf_file_metadata

    found = patiently(lambda: get_hf_file_metadata(url))
    return Version(found.size or 0, found.etag or "", found.commit_hash or commit)


def _changed(name: str, before: Version, after: Version, state: str) -> InputError:
    return InputError(
        f"{name} changed on the Hub during this run: it was {before}, and is {after}; what is encoded of it {state}"
    )


def write_whole(path: Path, data: bytes) -> None:
    """Write a file that appears whole or not at all."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        partial.write_bytes(data)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)

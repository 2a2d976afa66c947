"""A small Hub: repositories, revisions and files over HTTP, for the real clients of the Hugging Face Hub.

It speaks what `huggingface_hub` and `datasets` ask for: repository info, refs, tree, paths-info, and resolve with ETag
and ranges. Large files are redirected to a second host, as the Hub does. It counts the bytes of every file that it
sends, and fails when and as it is told to.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

LARGE = 2048
"""Bytes from which on a file lies on the second host."""


class Request(NamedTuple):
    """What a client asked for."""

    number: int
    """1 for the first."""
    host: str
    """`hub` or `cdn`."""
    method: str
    path: str
    headers: Mapping[str, str]


class Fault(NamedTuple):
    """What goes wrong with a request."""

    status: int
    """Of the answer."""
    headers: dict[str, str] = {}  # noqa: RUF012


HANGS_UP, BREAKS_OFF = Fault(0), Fault(-1)
"""No answer at all; half of a file, where one was asked for."""


@dataclass
class Repo:
    """A repository: its commits, the files of each, and who may read them."""

    kind: str
    name: str
    private: bool = False
    gated: bool = False
    readers: set[str] = field(default_factory=set)
    """Tokens with access, where it is private or gated."""
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)

    def commit(self, files: dict[str, bytes], branch: str = "main") -> str:
        """Add files to a branch and return the new commit."""
        files = self.commits.get(self.refs.get(branch, ""), {}) | files
        known = repr((len(self.commits), sorted((path, _sha(data)) for path, data in files.items())))
        sha = hashlib.sha1(known.encode()).hexdigest()
        self.commits[sha], self.refs[branch] = files, sha
        return sha


class HubServer:
    """The Hub and its second host, at `endpoint`, between `__enter__` and `__exit__`."""

    def __init__(self) -> None:
        self.repos: dict[tuple[str, str], Repo] = {}
        self.requests: list[Request] = []
        self.sent: Counter[str] = Counter()
        """Bytes of files sent, by path in the repository."""
        self.fault: Callable[[Request], Fault | None] = lambda request: None
        self._lock = threading.Lock()
        self._hosts = [_host(self, name) for name in ("hub", "cdn")]
        self.endpoint, self.cdn = (f"http://127.0.0.1:{host.server_address[1]}" for host in self._hosts)

    def __enter__(self) -> HubServer:
        for host in self._hosts:
            threading.Thread(target=host.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for host in self._hosts:
            host.shutdown()
            host.server_close()

    def repo(self, name: str, files: dict[str, bytes], kind: str = "datasets", **options: Any) -> Repo:
        """Create a repository with one commit."""
        repo = self.repos[kind, name] = Repo(kind, name, **options)
        repo.commit(files)
        return repo

    def reset(self) -> None:
        """Forget what was asked and sent, and fail no more."""
        self.requests.clear()
        self.sent.clear()
        self.fault = lambda request: None

    def asked(self, host: str, method: str, path: str, headers: Mapping[str, str]) -> Fault | None:
        """Note a request, and say what goes wrong with it."""
        with self._lock:
            self.requests.append(Request(len(self.requests) + 1, host, method, path, dict(headers)))
            return self.fault(self.requests[-1])


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or each answer waits 40 ms
    hub: ClassVar[HubServer]
    host: ClassVar[str]

    def handle_any(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urlsplit(self.path)
        self.fault = self.hub.asked(self.host, self.command, self.path, self.headers)
        if self.fault is HANGS_UP:
            self.close_connection = True
        elif self.fault and self.fault is not BREAKS_OFF:
            self.refuse(self.fault.status, "", "the server was told to fail", self.fault.headers)
        elif self.host == "cdn":
            digest, path = unquote(url.path)[1:].split("/", 1)
            stored = (files.get(path, b"") for repo in self.hub.repos.values() for files in repo.commits.values())
            if (data := next((data for data in stored if _sha(data) == digest), None)) is None:
                return self.refuse(404, "", f"{path} is no longer here")
            self.send_file(path, data)
        else:
            self.route(unquote(url.path), parse_qs(url.query))
        return None

    do_GET = do_HEAD = do_POST = handle_any

    def route(self, path: str, query: dict[str, list[str]]) -> None:
        name = r"(?P<name>[\w.-]+/[\w.-]+)"
        if found := re.fullmatch(rf"/api/(?P<kind>datasets|models)/{name}(/(?P<verb>[\w-]+)(/(?P<rest>.*))?)?", path):
            self.api(**found.groupdict(), query=query)
        elif found := re.fullmatch(rf"/((?P<kind>datasets)/)?{name}/resolve/(?P<rev>[^/]+)/(?P<path>.+)", path):
            self.resolve(found["kind"] or "models", found["name"], found["rev"], found["path"])
        else:
            self.refuse(404, "", f"nothing is at {path}")

    def api(self, kind: str, name: str, verb: str | None, rest: str | None, query: dict[str, list[str]]) -> None:
        if (repo := self.readable(kind, name)) is None:
            return None
        if verb == "refs":
            branches = [
                {"name": ref, "ref": f"refs/heads/{ref}", "targetCommit": sha} for ref, sha in repo.refs.items()
            ]
            return self.send_json({"branches": branches, "converts": [], "tags": []})
        rev, _, folder = (rest or "main").partition("/")
        if (sha := self.commit_of(repo, rev)) is None:
            return None
        files = repo.commits[sha]
        if verb in (None, "revision"):
            told = {"id": name, "sha": sha, "private": repo.private, "gated": "manual" if repo.gated else False}
            return self.send_json(told | {"tags": [], "siblings": [{"rfilename": path} for path in sorted(files)]})
        entries = _entries(files)
        if verb == "paths-info":
            wanted = parse_qs(self.body.decode()).get("paths", []) if self.is_form() else json.loads(self.body)["paths"]
            return self.send_json([entries[path] for path in wanted if path in entries])
        if verb == "tree":
            below = f"{folder}/" if folder else ""
            deep = query.get("recursive", ["false"])[0].lower() == "true"
            inside = [path for path in entries if path.startswith(below) and (deep or "/" not in path[len(below) :])]
            if not inside:
                return self.refuse(404, "EntryNotFound", f"{folder} does not exist on {rev!r}")
            return self.send_json([entries[path] for path in sorted(inside)])
        return self.refuse(404, "", f"{verb} is unknown")

    def resolve(self, kind: str, name: str, rev: str, path: str) -> None:
        if (repo := self.readable(kind, name, content=True)) is None or (sha := self.commit_of(repo, rev)) is None:
            return None
        data = repo.commits[sha].get(path)
        if data is None:
            return self.refuse(404, "EntryNotFound", "Entry not found", {"X-Repo-Commit": sha})
        if len(data) < LARGE:
            return self.send_file(path, data, {"X-Repo-Commit": sha})
        target = {"Location": f"{self.hub.cdn}/{_sha(data)}/{path}", "X-Linked-Size": str(len(data))}
        return self.answer(302, b"", target | {"X-Linked-ETag": f'"{_sha(data)}"', "X-Repo-Commit": sha})

    def readable(self, kind: str, name: str, content: bool = False) -> Repo | None:
        """Return a repository that the client may see, with its contents if asked for, or refuse."""
        repo = self.hub.repos.get((kind, name))
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if repo is None or (repo.private and token not in repo.readers):
            status = 404 if token else 401
            self.refuse(status, "RepoNotFound", "Repository not found" if token else "Invalid username or password.")
            return None
        if repo.gated and content and token not in repo.readers:
            self.refuse(403 if token else 401, "GatedRepo", f"Access to dataset {name} is restricted.")
            return None
        return repo

    def commit_of(self, repo: Repo, rev: str) -> str | None:
        sha = repo.refs.get(rev.removeprefix("refs/heads/"), rev)
        if sha in repo.commits:
            return sha
        self.refuse(404, "RevisionNotFound", f"Invalid rev id: {rev}")
        return None

    def send_file(self, path: str, data: bytes, headers: dict[str, str] | None = None) -> None:
        """Send a file or the range of it that is asked for."""
        size, told = len(data), {"ETag": f'"{_sha(data)}"', "Accept-Ranges": "bytes"} | (headers or {})
        wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range") or "")
        if not wanted:
            return self.answer(200, data, told, path)
        first = int(wanted[1]) if wanted[1] else max(0, size - int(wanted[2]))
        end = min(size, int(wanted[2]) + 1) if wanted[1] and wanted[2] else size
        if first >= end:
            return self.answer(416, b"", told | {"Content-Range": f"bytes */{size}"})
        return self.answer(206, data[first:end], told | {"Content-Range": f"bytes {first}-{end - 1}/{size}"}, path)

    def send_json(self, value: object) -> None:
        self.answer(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def refuse(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        told = {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {}) | (headers or {})
        self.answer(status, json.dumps({"error": message}).encode(), told)

    def answer(self, status: int, data: bytes, headers: dict[str, str], file: str = "") -> None:
        self.send_response(status)
        for key, value in ({"Content-Length": str(len(data))} | headers).items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if file and self.fault is BREAKS_OFF:
            data, self.close_connection = data[: len(data) // 2], True
        if file:
            self.hub.sent[file] += len(data)  # first, so that who has the bytes finds them counted
        self.wfile.write(data)

    def is_form(self) -> bool:
        return "form" in (self.headers.get("Content-Type") or "")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _host(hub: HubServer, name: str) -> ThreadingHTTPServer:
    return ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub, "host": name}))


@cache  # of large files, asked for piece by piece
def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _entries(files: dict[str, bytes]) -> dict[str, dict[str, Any]]:
    """Describe the files and folders of a commit, by path."""
    entries: dict[str, dict[str, Any]] = {}
    for path, data in files.items():
        entries[path] = {"type": "file", "path": path, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
        if len(data) >= LARGE:
            entries[path]["lfs"] = {"oid": _sha(data), "size": len(data), "pointerSize": 130}
        parts = path.split("/")[:-1]
        for depth in range(1, len(parts) + 1):
            folder = "/".join(parts[:depth])
            entries[folder] = {"type": "directory", "path": folder, "oid": hashlib.sha1(folder.encode()).hexdigest()}
    return entries

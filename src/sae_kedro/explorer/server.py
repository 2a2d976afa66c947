"""The explorer's page with a server behind it, for the one who sits in front of this machine."""

from __future__ import annotations

import asyncio
import errno
import hmac
import ipaddress
import json
import os
import re
import socket
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from typing import Any
from urllib.parse import urlsplit

import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sae_kedro.errors import InputError
from sae_kedro.explorer.api import QUESTIONS, Answers, Question
from sae_kedro.training.interrupts import Interrupts

LOOPBACK, PORT = "127.0.0.1", 8765
LARGEST_BODY = 2**20
"""Bytes of a question."""
TOKEN = "x-sae-kedro"
"""Header that shows that a question comes from the page."""
STATIC, LIVE = "connect-src 'none'", "connect-src 'self'"
HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
NOTHING = "default-src 'none'; frame-ancestors 'none'"
_POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy" content="([^"]+)">')


def live_page(page: str, token: str) -> str:
    """Turn the page that opens from a disk into one that asks a server.

    Args:
        page: What `write_explorer` has written.
        token: What it shows the server.

    Raises:
        InputError: It is another page.
    """
    policy = _POLICY.search(page, 0, 4096)
    if policy is None or STATIC not in policy[1]:
        raise InputError("explorer.html is no page of this version; `kedro run --pipelines interpret` makes it anew")
    head = policy[0].replace(STATIC, LIVE) + f'<meta name="sae-kedro-server" content="{token}">'
    return page[: policy.start()] + head + page[policy.end() :]


def explorer_app(answers: Answers, page: str, token: str, host: str = LOOPBACK, edit: bool = False) -> ASGIApp:
    """Build the server.

    Args:
        answers: Answers questions, one at a time, so that a hundred of them take no more memory than one.
        page: What `live_page` returned.
        token: The same one.
        host: Where it will be reached.
        edit: Whether own labels are kept.
    """
    policy = _POLICY.search(page)
    assert policy is not None
    headers, content = {"content-security-policy": f"{policy[1]}; frame-ancestors 'none'"}, page.encode()
    worker = ThreadPoolExecutor(1, "questions")

    async def index(_: Request) -> Response:
        return HTMLResponse(content, headers=headers)

    async def answer(question: Question, request: Request) -> Response:
        if not hmac.compare_digest(request.headers.get(TOKEN, "").encode(), token.encode()):
            raise HTTPException(403, "this question does not come from the page of this server; load it again")
        if question is QUESTIONS["label"] and not edit:
            raise HTTPException(403, "labels are kept by a server that was started with --edit")
        given = await _read(request)
        loop = asyncio.get_running_loop()
        return JSONResponse(await loop.run_in_executor(worker, question.put, answers, given))

    routes = [Route("/", index)]
    routes += [Route(f"/api/{name}", _asked(answer, each), methods=["POST"]) for name, each in QUESTIONS.items()]
    app = Starlette(routes=routes, exception_handlers={InputError: _refused, HTTPException: _refused, 500: _failed})
    app.router.redirect_slashes = False
    return _Guarded(app, host)


def bound_socket(host: str, port: int) -> socket.socket:
    """Take an address.

    Args:
        host: A name or an address of this machine.
        port: 0 takes any that is free.

    Raises:
        InputError: It is taken, or is none of this machine.
    """
    try:
        return _bound(host, port)
    except (OSError, UnicodeError) as error:
        if getattr(error, "errno", None) == errno.EADDRINUSE and (free := _next_free(host, port)) is not None:
            raise InputError(f"port {port} of {host} is in use; --port {free} is free") from error
        raise InputError(f"{host}, port {port}, cannot be served: {getattr(error, 'strerror', error)}") from error


def is_loopback(host: str) -> bool:
    """Tell whether an address can be reached from this machine alone."""
    address = _address(host)
    return host.lower() == "localhost" if address is None else address.is_loopback


def serve(app: ASGIApp, taken: socket.socket) -> None:
    """Serve until Ctrl-C or SIGTERM comes; questions that are being answered are answered.

    Args:
        app: What to serve.
        taken: Where.
    """
    config = uvicorn.Config(
        app, log_config=None, access_log=False, lifespan="off", ws="none", proxy_headers=False, server_header=False,
        timeout_graceful_shutdown=10,
    )  # fmt: skip
    with closing(taken), Interrupts():  # uvicorn hands signals on when it has stopped
        uvicorn.Server(config).run(sockets=[taken])


class _Guarded:
    """Lets questions through that were sent to this server by a page of its own, and adds headers to answers.

    A page from elsewhere that makes its own name point here is told by the name that it asks for, and one that sends
    questions right away by its origin.
    """

    def __init__(self, app: ASGIApp, host: str) -> None:
        self._app, self._host = app, host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        hosts = Headers(scope=scope).getlist("host")
        origin = Headers(scope=scope).get("origin")

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = MutableHeaders(scope=message)
                for name, value in {"content-security-policy": NOTHING, **HEADERS}.items():
                    own.setdefault(name, value)
            await send(message)

        if len(hosts) != 1 or not _is_own(hosts[0], self._host):
            refusal = "this server is reached by the address that it was started with, and by no other name"
        elif origin is not None and origin.lower() != f"http://{hosts[0].lower()}":
            refusal = "pages from elsewhere may ask nothing here"
        else:
            await self._app(scope, receive, answer)
            return
        await JSONResponse({"error": refusal}, 403)(scope, receive, answer)


def _asked(answer: Callable[[Question, Request], Awaitable[Response]], question: Question) -> Any:
    async def endpoint(request: Request) -> Response:
        return await answer(question, request)

    return endpoint


async def _read(request: Request) -> dict[str, Any]:
    """Read a question: an object of JSON that is not too large."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise HTTPException(415, "questions are JSON; send them as application/json")
    body = bytearray()
    size = 0
    async for part in request.stream():
        size += len(part)
        body += part if size <= LARGEST_BODY else b""
        if size > 16 * LARGEST_BODY:
            break  # what is a little too large is read, so that whoever sends it comes to read the answer
    if size > LARGEST_BODY:
        raise HTTPException(413, f"a question has at most {LARGEST_BODY:,} bytes")
    try:
        given = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, "the question is not valid JSON") from error
    if not isinstance(given, dict):
        raise HTTPException(400, "a question is an object of JSON")
    return given


async def _refused(_: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException):
        return JSONResponse({"error": error.detail}, error.status_code, error.headers)
    return JSONResponse({"error": str(error)}, 400)


async def _failed(_: Request, __: Exception) -> Response:
    return JSONResponse({"error": "this went wrong in the server; its terminal says how"}, 500)


def _is_own(header: str, host: str) -> bool:
    """Tell whether a Host header names this server, whatever the port: it may be forwarded from another one."""
    try:
        name = urlsplit(f"//{header}").hostname or ""
    except ValueError:
        return False
    if is_loopback(name) or is_loopback(host):
        return is_loopback(name)
    return _address(name) is not None or name in {host.lower(), socket.gethostname().lower()}


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _bound(host: str, port: int) -> socket.socket:
    family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    taken = socket.socket(family)
    try:
        if os.name == "posix":  # elsewhere it would share the port with others
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(address)
    except OSError:
        taken.close()
        raise
    return taken


def _next_free(host: str, port: int) -> int | None:
    for other in range(port + 1, min(port + 100, 2**16)):
        with suppress(OSError):
            _bound(host, other).close()
            return other
    return None

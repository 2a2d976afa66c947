"""An OpenAI-compatible endpoint on this machine that does as it is told: answers sensibly, oddly, late or never."""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


def sensibly(prompt: str) -> str:
    """Name the word that most tells texts on which the detector fires from others; grade by whether a text has it."""
    if "\nLabel: " in prompt:
        label = re.search(r"^Label: (.+)$", prompt, re.MULTILINE)[1].lower()
        texts = re.findall(r"^\d+\. (.*)$", prompt, re.MULTILINE)
        return json.dumps({"grades": [10 * (label in text.lower()) for text in texts]})
    firing, *silent = re.split(r"^(?:Texts|Other texts) on which", prompt, flags=re.MULTILINE)[1:]
    counts = _words(firing)
    counts.subtract(sum(map(_words, silent), Counter()))
    return json.dumps({"label": min(counts, key=lambda word: (-counts[word], word))})


def _words(listed: str) -> Counter[str]:
    """Count the texts of a list that have a word."""
    return Counter(word for text in listed.splitlines()[1:] for word in {*re.findall(r"[^\W\d]{4,}", text.lower())})


class LLMServer(ThreadingHTTPServer):
    """Attributes: `answer`: makes an answer of a prompt; `moods`: what happens to the next calls instead, one each: an
    HTTP status, "slow", "cut", "web page", or a body; `mood`: what happens to all others; `prompts`: those that were
    answered; `calls`: how many came; `key`: the only one that is accepted."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.reset()
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def reset(self) -> None:
        self.answer: Callable[[str], str] = sensibly
        self.moods: list[Any] = []
        self.mood: Any = "well"
        self.prompts: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.calls = 0
        self.key: str | None = None
        self.lock, self.released = threading.Lock(), threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing about clients that hang up."""

    def die(self) -> None:
        self.released.set()
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: LLMServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._send(200, json.dumps({"object": "list", "data": [{"id": "small"}, {"id": "large"}]}))

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server = self.server
        with server.lock:
            server.calls += 1
            server.headers.append({name.lower(): value for name, value in self.headers.items()})
            mood = server.moods.pop(0) if server.moods else server.mood
        key = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if server.key is not None and key != server.key:
            self._send(401, _error(f"Incorrect API key provided: {key}"))
        elif asked["model"] not in ("small", "large"):
            self._send(404, _error("no such model"))
        elif isinstance(mood, int):
            self._send(mood, _error("not now"))
        elif mood == "slow":
            server.released.wait(5)
        elif mood == "cut":
            self._send(200, '{"choices": [{"mess', more=500)
            self.close_connection = True
        elif mood == "web page":
            self._send(200, "<html>welcome</html>", kind="text/html")
        elif isinstance(mood, dict):
            self._send(200, json.dumps(mood))
        else:
            prompt = asked["messages"][0]["content"]
            with server.lock:
                server.prompts.append(prompt)
            first = prompt.startswith("Answer with the word")
            self._send(200, json.dumps(completion("yes" if first else server.answer(prompt))))

    def _send(self, status: int, body: str, kind: str = "application/json", more: int = 0) -> None:
        data = body.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data) + more))
        if status in (429, 500):
            self.send_header("Retry-After", "0.01")
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def completion(content: str | None, **more: Any) -> dict[str, Any]:
    return {"object": "chat.completion", "choices": [{"index": 0, "message": {"content": content} | more}]}


def _error(message: str) -> str:
    return json.dumps({"error": {"message": message, "type": "odd"}})

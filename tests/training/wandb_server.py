"""A W&B server on this machine that does as it is told: answers, refuses, fails, hangs or breaks off."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class WandbServer(ThreadingHTTPServer):
    """Attributes: `mood`: "well", "hanging", "breaking off" or an HTTP status; `rows`: the history that arrived."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.mood: str | int = "well"
        self.rows: list[dict[str, Any]] = []
        self.asked: list[str] = []
        self.released = threading.Event()
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing about clients that hang up."""

    def die(self) -> None:
        """Stop listening; whoever hangs is let go."""
        self.released.set()
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: WandbServer
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.asked.append(self.path)
        mood = self.server.mood
        if mood == "hanging":
            self.server.released.wait()
            self.close_connection = True
        elif mood == "breaking off":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Len")
            self.close_connection = True
        elif isinstance(mood, int):
            self._answer(mood, {"errors": [{"message": "no"}]})
        else:
            self._answer(200, self._well(body))

    do_GET = do_PUT = do_POST

    def _well(self, body: bytes) -> dict[str, Any]:
        if self.path.endswith("/file_stream"):
            for line in json.loads(body).get("files", {}).get("wandb-history.jsonl", {}).get("content", []):
                self.server.rows.append(json.loads(line))
            return {}
        if self.command != "POST":
            return {}
        asked = json.loads(body)
        if "upsertBucket" in asked["query"]:
            project = {"id": "2", "name": "sae_kedro", "entity": {"id": "3", "name": "me"}}
            bucket = {"id": "1", "name": asked["variables"]["name"], "displayName": "run", "project": project}
            return {"data": {"upsertBucket": {"bucket": bucket, "inserted": True}}}
        if "createRunFiles" in asked["query"]:
            names = asked["variables"]["files"]
            files = [{"name": name, "uploadUrl": f"{self.server.url}/upload"} for name in names]
            return {"data": {"createRunFiles": {"runID": "1", "uploadHeaders": [], "files": files}}}
        return {"data": {}}

    def _answer(self, status: int, content: dict[str, Any]) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        pass

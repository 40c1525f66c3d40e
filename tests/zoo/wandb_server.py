"""A stand-in for the backend of Weights & Biases on loopback: what wandb sends is kept, and what it asks is answered.

Enough of it for runs (online, synced later, resumed), their files and artifacts, `wandb.Api`, workspaces, reports and
sweeps. It draws nothing; what W&B's own pages make of all that is not tested here.
"""

import gzip
import json
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from wandb_backend import ENTITY
from wandb_graphql import Document
from wandb_objects import Backend

KEY = "0" * 40
"""Of the API; any of this length will do."""


class Handler(BaseHTTPRequestHandler):
    """``/graphql``, the stream of a run's files, and files at the addresses that were given out for them."""

    protocol_version = "HTTP/1.1"
    server: "Server"

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""

    def do_POST(self) -> None:
        """What was asked or sent; what the stand-in can't take is kept for the test, and refused for good."""
        body = self._body()
        backend = self.server.backend
        try:
            with backend.lock:
                answer = self._taken(body)
        except Exception:
            backend.failures.append(f"{self.path} {body[:2000]!r}\n{traceback.format_exc()}")
            self._answer(b"{}", 400)
        else:
            self._answer(json.dumps(answer).encode())

    def _taken(self, body: bytes) -> dict[str, Any]:
        """A GraphQL request, or lines of a run's files; anything else (statistics of use) is forgotten."""
        backend = self.server.backend
        if self.path == "/graphql":
            request = json.loads(body)
            backend.asked.append(request["query"])
            return Document(request["query"], request.get("variables") or {}).answer(backend.root())
        if self.path.endswith("/file_stream"):
            *_, project, run, _ = self.path.split("/")
            backend.run(project, run).stream(json.loads(body))
        return {}

    def do_PUT(self) -> None:
        """A file."""
        self.server.backend.stored[self.path] = self._body()
        self._answer(b"")

    def do_GET(self) -> None:
        """A file that was put."""
        found = self.server.backend.stored.get(self.path)
        self._answer(found or b"{}", 404 if found is None else 200)

    def _body(self) -> bytes:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body

    def _answer(self, body: bytes, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(ThreadingHTTPServer):
    """One backend behind one port.

    Attributes:
        backend: All that was sent.
        url: Where it listens.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.backend = Backend()
        self.url = self.backend.url = f"http://127.0.0.1:{self.server_port}"

    @property
    def environment(self) -> dict[str, str]:
        """Variables with which wandb talks to it, and to nobody else."""
        return {
            "WANDB_MODE": "online",
            "WANDB_BASE_URL": self.url,
            "WANDB_API_KEY": KEY,
            "WANDB_ENTITY": ENTITY,
            "WANDB_ERROR_REPORTING": "false",
            "WANDB_DISABLE_CODE": "true",
            "WANDB_DISABLE_GIT": "true",
            "WANDB_SILENT": "true",
        }


@contextmanager
def serving() -> Iterator[Server]:
    """A server, while the block runs."""
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

"""Object storage that fails for a while: a server in front of a sound one, which passes on what it is asked."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal

from tests.s3 import Server

Fault = Literal["none", "refuses", "cuts"]
"""Answers every request with 403, which the client does not repeat by itself; or sends half of each object as if it
were the whole."""


_OWN_HEADERS = ("transfer-encoding", "content-length", "expect", "connection")


class Faulty:
    """What the server does at the moment.

    Attributes:
        fault: What it does.
        num_faults: Answers since `fail` that were not those of the storage behind it.
    """

    def __init__(self, server: Server) -> None:
        self.behind = server.host
        self.fault: Fault = "none"
        self.num_faults = 0
        self.host = ""
        self._times: int | None = None

    def fail(self, fault: Fault, times: int | None = None) -> None:
        """Begin to fail: for so many answers, or until it is told otherwise."""
        self.fault, self._times, self.num_faults = fault, times, 0

    def count(self) -> None:
        """Count an answer that is not that of the storage."""
        self.num_faults += 1
        if self.num_faults == self._times:
            self.fault = "none"

    def location(self, path: str) -> str:
        """Return the URI of a path in the storage as it is seen through this server."""
        return f"s3://{path}?endpoint_override={self.host}&scheme=http&region=us-east-1"


@contextmanager
def faulty_storage(server: Server) -> Iterator[Faulty]:
    """Run a server that fails when it is told to."""
    state = Faulty(server)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _pass_on(self) -> None:
            body = self._body()
            if state.fault == "refuses":
                state.count()
                self._answer(403, {}, b"")
                return
            connection = http.client.HTTPConnection(state.behind, timeout=60)
            told = {name: value for name, value in self.headers.items() if name.lower() not in _OWN_HEADERS}
            connection.request(self.command, self.path, body, told)
            answer = connection.getresponse()
            content = answer.read()
            headers = {name: value for name, value in answer.getheaders() if name.lower() != "transfer-encoding"}
            if state.fault == "cuts" and self.command == "GET" and content and not content.startswith(b"<"):
                state.count()
                content = content[: len(content) // 2]
                headers["Content-Length"] = str(len(content))
            if self.command != "HEAD":
                headers["Content-Length"] = str(len(content))
            self._answer(answer.status, headers, content)
            connection.close()

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)

        def _answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
            self.send_response_only(status)
            for name, value in {"Content-Length": "0", **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _pass_on  # noqa: N815 - names that the base class calls

        def log_message(self, format: str, *args: object) -> None:
            pass

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listening.daemon_threads = True
    state.host = f"127.0.0.1:{listening.server_port}"
    thread = threading.Thread(target=listening.serve_forever, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        listening.shutdown()
        listening.server_close()

"""Object storage that fails: a proxy before the server of `tests.s3`, like it but for its faults."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal

from tests.s3 import Server

Fault = Literal["none", "error", "denied", "short", "cut", "list_error", "refuses", "slow"]
"""How reads of objects are answered: soundly; with status 500; with 403; with half of the bytes as if there were no
more; broken off in the middle. Or lists are answered with 500; or all requests with 403, which no client repeats; or
reads only after a while."""

SLOW_SECONDS = 0.4

_REFUSALS = {"error": 500, "denied": 403, "list_error": 500, "refuses": 403}
_OWN_HEADERS = ("transfer-encoding", "content-length", "expect", "connection", "date", "server")


class FaultyServer(Server):
    """The proxy: like the server behind it, but for its faults.

    Attributes:
        fault: What it does at the moment.
        num_faults: Answers since `fail` that were not those of the server behind it.
        num_left: Faults to come; None where there is no end of them.
    """

    fault: Fault
    num_faults: int
    num_left: int | None

    def fail(self, fault: Fault, times: int | None = None) -> None:
        """Begin to fail: for so many answers, or until it is told otherwise."""
        self.fault, self.num_left, self.num_faults = fault, times, 0

    def count(self) -> None:
        """Count an answer that is not that of the server behind."""
        self.num_faults += 1
        if self.num_left is not None:
            self.num_left -= 1
            if not self.num_left:
                self.fault = "none"

    def location(self, path: str) -> str:
        """Return the URI of a path in the storage as it is seen through this server."""
        return f"s3://{path}{self.query}"


@contextmanager
def faulty(server: Server, match: str = "") -> Iterator[FaultyServer]:
    """Start a proxy before a server.

    Args:
        server: The server.
        match: Part of the keys of the objects that are answered with faults.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _handle(self) -> None:
            body = self._body()
            fault = proxy.fault if self._is_hit(proxy.fault) else "none"
            if fault in _REFUSALS:
                self._refuse(_REFUSALS[fault])
            else:
                if fault == "slow":
                    proxy.count()
                    time.sleep(SLOW_SECONDS)
                self._pass_on(body, fault)

        def _is_hit(self, fault: Fault) -> bool:
            is_list = "list-type" in self.path or "delimiter" in self.path
            if fault == "refuses":
                return True
            return self.command == "GET" and (is_list if fault == "list_error" else not is_list and match in self.path)

        def _refuse(self, status: int) -> None:
            proxy.count()
            code = "InternalError" if status == 500 else "AccessDenied"
            content = f"<Error><Code>{code}</Code><Message>told to</Message></Error>".encode()
            self._answer(status, {"Content-Type": "application/xml"}, content, len(content))

        def _pass_on(self, body: bytes, fault: Fault) -> None:
            behind = http.client.HTTPConnection(server.host, timeout=60)
            told = {name: value for name, value in self.headers.items() if name.lower() not in _OWN_HEADERS}
            behind.request(self.command, self.path, body, told)
            answer = behind.getresponse()
            content = answer.read()
            behind.close()
            length = int(answer.getheader("Content-Length") or 0) if self.command == "HEAD" else len(content)
            if fault in ("short", "cut") and content and not content.startswith(b"<"):
                proxy.count()
                content = content[: len(content) // 2]
                length = length if fault == "cut" else len(content)
            headers = {name: value for name, value in answer.getheaders() if name.lower() not in _OWN_HEADERS}
            self._answer(answer.status, headers, content, length)
            self.close_connection |= fault == "cut"

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)

        def _answer(self, status: int, headers: dict[str, str], content: bytes, length: int) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(length)}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _handle  # noqa: N815 - names that the base class calls

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listener.daemon_threads = True
    proxy = FaultyServer(f"127.0.0.1:{listener.server_port}")
    proxy.fail("none")
    thread = threading.Thread(target=listener.serve_forever, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        listener.shutdown()
        listener.server_close()
        thread.join()

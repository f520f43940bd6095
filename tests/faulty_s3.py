"""Object storage that fails: a proxy before the server of `tests.s3`."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal

from tests.s3 import Server

Fault = Literal["none", "error", "denied", "short", "cut", "list_error"]
"""What answers to GET requests of objects are: sound; status 500; status 403; of fewer bytes than were asked for, as if
there were no more; broken off in the middle. Or lists are answered with status 500."""


class FaultyServer(Server):
    """The proxy: like the server behind it, but for its faults."""

    fault: Fault
    num_faults: int


@contextmanager
def faulty(server: Server, match: str = "") -> Iterator[FaultyServer]:
    """Start a proxy before a server.

    Args:
        server: The server.
        match: Part of the keys of the objects that are answered with faults.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            is_list = "list-type" in self.path or "delimiter" in self.path
            fault = proxy.fault
            if fault == "list_error" and is_list:
                self._refuse(500, "InternalError")
            elif fault in ("error", "denied") and not is_list and match in self.path:
                self._refuse(*((500, "InternalError") if fault == "error" else (403, "AccessDenied")))
            else:
                self._pass_on(fault if not is_list and match in self.path else "none")

        def _refuse(self, status: int, code: str) -> None:
            proxy.num_faults += 1
            body = f"<Error><Code>{code}</Code><Message>told to</Message></Error>".encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/xml")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _pass_on(self, fault: Fault) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            behind = http.client.HTTPConnection(server.host, timeout=30)
            behind.request(self.command, self.path, body, dict(self.headers))
            answer = behind.getresponse()
            content = answer.read()
            behind.close()
            length = len(content)
            if fault in ("short", "cut") and length > 100:
                proxy.num_faults += 1
                content = content[: length // 2]
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("content-length", "transfer-encoding", "connection", "date", "server"):
                    self.send_header(name, value)
            if self.command == "HEAD":
                self.send_header("Content-Length", answer.getheader("Content-Length") or "0")
            else:
                self.send_header("Content-Length", str(length if fault == "cut" else len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)
            if fault == "cut":
                self.close_connection = True

        def do_others(self) -> None:
            self._pass_on("none")

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    for method in ("HEAD", "PUT", "POST", "DELETE"):
        setattr(Handler, f"do_{method}", Handler.do_others)
    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    proxy = FaultyServer(f"127.0.0.1:{listener.server_address[1]}")
    proxy.fault, proxy.num_faults = "none", 0
    thread = threading.Thread(target=listener.serve_forever, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        listener.shutdown()
        listener.server_close()
        thread.join()

"""A server of object storage, run by moto in this process, whose requests can be watched and held."""

from __future__ import annotations

import logging
import os
import queue
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Protocol

from pyarrow import fs

BUCKET = "faults"

Watch = Callable[[str, str, bool], str | None]


class Weather(Protocol):
    """What goes wrong with requests.

    Attributes:
        is_quiet: Whether an answer that is cut claims to be whole.
    """

    is_quiet: bool

    def refusal(self, method: str, path: str, query: str) -> str | None:
        """Return a status with which a request is refused, and not carried out; it may wait, too."""

    def spoil(self, method: str, path: str, query: str, body: bytes) -> bytes:
        """Return what is sent of the body of an answer; where it is less, the answer breaks off there."""


class Server:
    """A server of object storage whose requests can be watched, and held before and after they are carried out.

    Args:
        host: Address and port.

    Attributes:
        weather: What goes wrong at the moment; None where all is well.
    """

    def __init__(self, host: str) -> None:
        self.host = host
        self.weather: Weather | None = None
        self._watch: Watch | None = None
        self._events: queue.Queue[tuple[str, threading.Event]] = queue.Queue()
        self._waiting: list[threading.Event] = []

    def watch(self, watch: Watch | None) -> None:
        """Hold the requests for which `watch` names an event, given method, path, and whether they are carried out."""
        self._watch = watch
        self.let_on()
        while self.wait(0) is not None:
            self.let_on()

    def wait(self, seconds: float) -> str | None:
        """Return the next event, whose request waits for `let_on`."""
        with suppress(queue.Empty):
            event, go = self._events.get(timeout=seconds) if seconds else self._events.get_nowait()
            self._waiting.append(go)
            return event
        return None

    def let_on(self) -> None:
        """Let the requests go on that wait."""
        while self._waiting:
            self._waiting.pop().set()

    def keep(self) -> Callable[[], None]:
        """Let the requests that wait do so until the function that is returned is called, whatever `let_on` does."""
        kept, self._waiting = self._waiting, []

        def let_these_on() -> None:
            for go in kept:
                go.set()

        return let_these_on

    def tell(self, method: str, path: str, is_answered: bool) -> None:
        """Hold a request, if it is watched for."""
        event = self._watch(method, path, is_answered) if self._watch else None
        if event is not None:
            go = threading.Event()
            self._events.put((event, go))
            go.wait()


class _Begin:
    """Keeps the head of an answer until its body is known."""

    def __init__(self, start_response: Any) -> None:
        self._start_response = start_response
        self._head: tuple[Any, ...] = ()

    def __call__(self, status: str, headers: list[tuple[str, str]], *rest: Any) -> None:
        self._head = (status, headers, *rest)

    def go_on(self, length: int | None) -> None:
        status, headers, *rest = self._head
        if length is not None:
            headers = [header for header in headers if header[0].lower() != "content-length"]
            headers.append(("Content-Length", str(length)))
        self._start_response(status, headers, *rest)


@contextmanager
def running_server() -> Iterator[Server]:
    """Run a server of object storage with one empty bucket."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
        from werkzeug.serving import make_server
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    os.environ |= {"AWS_ACCESS_KEY_ID": "none", "AWS_SECRET_ACCESS_KEY": "none", "AWS_EC2_METADATA_DISABLED": "true"}
    os.environ.pop("AWS_ENDPOINT_URL", None)
    application = DomainDispatcherApplication(create_backend_app)
    server = Server("")

    def watched(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        asked = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        query = environ.get("QUERY_STRING", "")
        weather = server.weather
        if weather is not None and (status := weather.refusal(*asked, query)) is not None:
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            content = f"<Error><Code>{status.partition(' ')[2].replace(' ', '')}</Code></Error>".encode()
            start_response(status, [("Content-Type", "application/xml"), ("Content-Length", f"{len(content)}")])
            return [content]
        server.tell(*asked, False)
        answer = list(application(environ, begin := _Begin(start_response)))
        server.tell(*asked, True)
        body = b"".join(answer)
        if weather is not None and asked[0] != "HEAD":
            body = weather.spoil(*asked, query, body)
        is_honest = body.startswith(b"<?xml") or (weather is not None and weather.is_quiet and asked[0] == "GET")
        begin.go_on(len(body) if is_honest else None)
        return [body]

    listening = make_server("127.0.0.1", 0, watched, threaded=True)
    server.host = f"127.0.0.1:{listening.server_port}"
    thread = threading.Thread(target=listening.serve_forever, daemon=True)
    thread.start()
    filesystem, _ = fs.FileSystem.from_uri(
        f"s3://{BUCKET}?endpoint_override={server.host}&scheme=http&region=us-east-1&allow_bucket_creation=true"
    )
    filesystem.create_dir(BUCKET)
    try:
        yield server
    finally:
        server.watch(None)
        listening.shutdown()

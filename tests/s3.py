"""A local S3 server for tests of object storage."""

from __future__ import annotations

import logging
import urllib.request
import warnings
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import quote

import pytest

from vidcnn.storage import uris as storage
from vidcnn.storage import versions
from vidcnn.storage.s3_pages import paged_listing


class Server(NamedTuple):
    """A running server with the empty bucket ``bkt``."""

    host: str

    @property
    def query(self) -> str:
        return f"?endpoint_override={self.host}&scheme=http&region=us-east-1"

    def put(self, *keys: str, body: bytes = b"x" * 10) -> None:
        for key in keys:
            self.request("PUT", f"bkt/{quote(key)}", body)

    def request(self, method: str, path: str, body: bytes | None = None) -> None:
        headers = {"Content-Type": "application/octet-stream"}
        request = urllib.request.Request(f"http://{self.host}/{path}", body, headers, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            answer.read()


@pytest.fixture(scope="session")
def running_server() -> Iterator[Server]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of moto and what it imports
        from moto.server import ThreadedMotoServer
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield Server(f"{host}:{port}")
    server.stop()


@pytest.fixture
def s3(running_server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "dummy")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    storage._remote_filesystem.cache_clear()
    paged_listing.cache_clear()
    versions._client.cache_clear()
    running_server.request("POST", "moto-api/reset")
    running_server.request("PUT", "bkt")
    return running_server

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import ray

from tests.commands import vidcnn
from vidcnn.cluster.jobserver import JobServer, read_token
from vidcnn.errors import VidcnnError

TOKEN = "t" * 64


@contextmanager
def server(version: str, token: str | None = None) -> Iterator[tuple[str, list[str | None]]]:
    """Stand in for a job server without jobs; yield its address, and what was sent as tokens."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            allowed = token is None or self.headers.get("Authorization") == f"Bearer {token}"
            sent.append(self.headers.get("Authorization"))
            self.send_response(200 if allowed else 403 if self.headers.get("Authorization") else 401)
            self.end_headers()
            answer = [] if self.path == "/api/jobs/" else {"version": "4", "ray_version": version, "ray_commit": "x"}
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *arguments: object) -> None:
            pass

    sent: list[str | None] = []
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{httpd.server_address[1]}", sent
    finally:
        httpd.shutdown()
        httpd.server_close()


@pytest.fixture(autouse=True)
def no_token(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


def test_an_address_that_nobody_listens_at_is_told_at_once() -> None:
    with pytest.raises(VidcnnError, match=r"no job server answers at http://127.0.0.1:1: connection refused"):
        JobServer("http://127.0.0.1:1", None)


def look(address: str, **variables: str) -> tuple[int, str]:
    """List the jobs there, in a process of its own: Ray looks at its environment once."""
    done = vidcnn("jobs", "list", "--cluster", address, extra=variables)
    return done.returncode, done.stdout + done.stderr


def test_another_version_of_ray_is_refused() -> None:
    with server("2.9.3") as (address, _):
        code, text = look(address)
    assert code == 1
    assert f"the cluster at {address} runs Ray 2.9.3, this command Ray {ray.__version__}" in text
    assert "pip install 'ray[default]==2.9.3'" in text


def test_the_address_is_the_one_that_was_named() -> None:
    with server(ray.__version__) as (address, _):
        astray = {"RAY_ADDRESS": "http://127.0.0.1:1", "RAY_API_SERVER_ADDRESS": "http://127.0.0.1:2"}
        assert look(address, **astray) == (0, "no jobs\n")


def test_a_token_is_sent_where_it_is_asked_for_and_nowhere_else() -> None:
    with server(ray.__version__, TOKEN) as (address, _):
        code, text = look(address)
        assert (code, "wants a token, and there is none here" in text, "RAY_AUTH_TOKEN" in text) == (1, True, True)
        code, text = look(address, RAY_AUTH_TOKEN="another")
        assert (code, "does not take the token that is here" in text) == (1, True)
        assert look(address, RAY_AUTH_TOKEN=TOKEN) == (0, "no jobs\n")
    with server(ray.__version__) as (address, sent):
        assert look(address, RAY_AUTH_TOKEN=TOKEN) == (0, "no jobs\n")
        assert set(sent) == {None}


def test_the_token_is_found_where_ray_keeps_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert read_token() is None
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("usual\n")
    assert read_token() == "usual"
    (tmp_path / "elsewhere").write_text("named")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "elsewhere"))
    assert read_token() == "named"
    monkeypatch.setenv("RAY_AUTH_TOKEN", "given")
    assert read_token() == "given"


def test_an_address_that_is_not_rays_is_a_usage_error(tmp_path: Path) -> None:
    plain = ThreadingHTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler)
    threading.Thread(target=plain.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{plain.server_address[1]}"
    try:
        code, text = look(address)
    finally:
        plain.shutdown()
        plain.server_close()
    assert code == 2
    assert f"what answers at {address} is no job server of Ray (HTTP 404)" in text
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            for _ in range(2):  # the first only looks whether anybody is there
                connection, _ = listener.accept()
                with connection:
                    connection.recv(100)
                    connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")

        threading.Thread(target=answer, daemon=True).start()
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        code, text = look(address)
    assert code == 2
    assert f"what listens at {address} is no job server of Ray: it speaks no HTTP" in text

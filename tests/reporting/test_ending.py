from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from vidcnn.errors import JobFailedError, OutputBusyError, StorageError, UsageError
from vidcnn.reporting import ending as module
from vidcnn.reporting.ending import announced, ending

ABOUT: dict[str, str | None] = {"command": "infer", "out": "s3://bkt/preds"}
HOST = socket.gethostname()


@dataclass
class Hook:
    """A webhook, and what it got."""

    url: str = ""
    answers: list[int] = field(default_factory=list)
    got: list[dict[str, object]] = field(default_factory=list)


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hook]:
    monkeypatch.setattr(module, "_PAUSES_SECONDS", (0.0, 0.0, 0.0))
    there = Hook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.headers["Content-Type"] == "application/json"
            there.got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(there.answers.pop(0) if there.answers else 204)
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    there.url = f"http://127.0.0.1:{httpd.server_address[1]}/services/SECRET"
    yield there
    httpd.shutdown()
    httpd.server_close()


def run(error: BaseException | None, *, notify: str | None = None, on_failure: str | None = None) -> None:
    with announced(ABOUT, notify=notify, on_failure=on_failure):
        if error is not None:
            raise error


def fail(error: BaseException, *, notify: str | None = None, on_failure: str | None = None) -> None:
    with pytest.raises(type(error)):
        run(error, notify=notify, on_failure=on_failure)


def test_how_a_run_ended_is_said_in_one_line_and_in_values() -> None:
    done = ending(ABOUT, 0.0, 61.5, None)
    assert done["text"] == f"vidcnn infer of s3://bkt/preds succeeded on {HOST}"
    assert (done["started"], done["ended"]) == ("1970-01-01T00:00:00.000Z", "1970-01-01T00:01:01.500Z")
    failed = ending(ABOUT, 0.0, 1.0, StorageError("3 videos could not be read", ""))
    assert failed["text"] == f"vidcnn infer of s3://bkt/preds failed on {HOST}: 3 videos could not be read"
    assert (failed["outcome"], failed["exit_code"]) == ("failed", 1)
    busy = ending({}, 0.0, 1.0, OutputBusyError("in use", ""))
    assert (busy["text"], busy["exit_code"]) == (f"vidcnn skipped on {HOST}: in use", 75)
    assert ending(ABOUT, 0.0, 1.0, JobFailedError(3))["exit_code"] == 3
    assert ending(ABOUT, 0.0, 1.0, KeyboardInterrupt())["exit_code"] == 130


def test_a_webhook_hears_of_each_end(hook: Hook) -> None:
    run(None, notify=hook.url)
    fail(StorageError("broken", ""), notify=hook.url)
    assert [got["outcome"] for got in hook.got] == ["succeeded", "failed"]


def test_an_end_of_which_only_the_failure_is_of_interest_is_told_where_it_failed(hook: Hook) -> None:
    for error in (None, UsageError("no such key", "")):
        with suppress(UsageError), announced({}, notify=hook.url, on_failure=None, failures_only=True):
            if error is not None:
                raise error
    assert [got["outcome"] for got in hook.got] == ["failed"]


def test_a_webhook_that_fails_is_tried_again_and_changes_nothing(hook: Hook, capfd: pytest.CaptureFixture[str]) -> None:
    hook.answers = [503, 500]
    run(None, notify=hook.url)
    assert (len(hook.got), capfd.readouterr().err) == (3, "")
    hook.answers = [404]
    run(None, notify=hook.url)
    assert len(hook.got) == 4
    assert capfd.readouterr().err == "vidcnn: --notify: 127.0.0.1 got no message of how this ended: HTTP 404\n"
    run(None, notify="http://127.0.0.1:1/SECRET")
    said = capfd.readouterr().err
    assert said == "vidcnn: --notify: 127.0.0.1 got no message of how this ended: connection refused\n"


def test_a_command_is_run_where_the_run_failed_and_nowhere_else(tmp_path: Path) -> None:
    command = f'cat > {tmp_path}/seen.json; echo "$VIDCNN_EXIT_CODE $VIDCNN_ERROR" > {tmp_path}/seen.txt'
    run(None, on_failure=command)
    fail(OutputBusyError("another run has it", ""), on_failure=command)
    assert list(tmp_path.iterdir()) == []
    fail(StorageError("$(touch here); 'quoted'", ""), on_failure=command)
    assert (tmp_path / "seen.txt").read_text() == "1 $(touch here); 'quoted'\n"
    assert json.loads((tmp_path / "seen.json").read_text())["out"] == "s3://bkt/preds"


def test_a_command_that_fails_is_said_and_changes_nothing(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fail(StorageError("broken", ""), on_failure="exit 7")
    assert capfd.readouterr().err == "vidcnn: --on-failure: the command ended with exit code 7\n"
    monkeypatch.setattr(module, "_COMMAND_SECONDS", 0.2)
    fail(StorageError("broken", ""), on_failure="sleep 10")
    assert "the command was ended after" in capfd.readouterr().err


@pytest.mark.parametrize("url", ["hooks.example/x", "ftp://host/x", "https://"])
def test_what_is_no_url_is_refused_before_anything_is_done(url: str) -> None:
    with pytest.raises(UsageError, match="--notify must be a URL"):
        run(AssertionError("it was done"), notify=url)

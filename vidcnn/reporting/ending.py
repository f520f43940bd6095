"""Messages on how a run ended, for people who do not watch it: to a webhook, and to a command where it failed.

It sends a request and starts a command. Nothing that happens to either changes how the run ended.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from vidcnn.errors import JobFailedError, OutputBusyError, UsageError, describe_failure, describe_reason
from vidcnn.reporting.progress import iso_time
from vidcnn.safe_text import one_line
from vidcnn.version import __version__

_POST_SECONDS = 10.0
_PAUSES_SECONDS = (0.0, 1.0, 4.0)
"""Before each try of a request."""
_COMMAND_SECONDS = 300.0


@contextmanager
def announced(
    about: Mapping[str, str | None], *, notify: str | None, on_failure: str | None, failures_only: bool = False
) -> Iterator[None]:
    """Send how the block ended to those who asked for it.

    Args:
        about: What is run, as far as that is known: ``command`` and ``out``.
        notify: URL that gets a JSON object, however the block ended.
        on_failure: A command for the shell, which gets the same on stdin, and the exit code and the error in
            ``VIDCNN_EXIT_CODE`` and ``VIDCNN_ERROR``; it is run where the block failed.
        failures_only: Say nothing where the block did not fail.

    Raises:
        UsageError: `notify` is no URL.
    """
    if notify is not None and (urlsplit(notify).scheme not in ("http", "https") or not urlsplit(notify).hostname):
        raise UsageError("--notify must be a URL: http://... or https://...")
    started = time.time()
    try:
        yield
    except BaseException as error:
        _announce(ending(about, started, time.time(), error), notify, on_failure)
        raise
    if not failures_only:
        _announce(ending(about, started, time.time(), None), notify, on_failure)


def ending(
    about: Mapping[str, str | None], started: float, ended: float, error: BaseException | None
) -> dict[str, Any]:
    """Return how a run ended, as JSON values; ``text`` is one line, as chat programs show it.

    Args:
        about: As for `announced`.
        started: When it started, in seconds since 1970.
        ended: Seconds since 1970.
        error: What ended it; None where it was done.
    """
    exit_code, message = _failure(error)
    outcome = {0: "succeeded", OutputBusyError.exit_code: "skipped"}.get(exit_code, "failed")
    host, what = socket.gethostname(), f"vidcnn {about.get('command') or ''}".strip()
    where = f" of {about['out']}" if about.get("out") else ""
    return {
        "text": f"{what}{where} {outcome} on {host}" + (f": {message}" if message else ""),
        "outcome": outcome,
        "exit_code": exit_code,
        "error": message,
        "command": about.get("command"),
        "out": about.get("out"),
        "started": iso_time(started),
        "ended": iso_time(ended),
        "host": host,
        "version": __version__,
    }


def _failure(error: BaseException | None) -> tuple[int, str | None]:
    """Return the exit code of a run, and what went wrong."""
    if error is None:
        return 0, None
    if isinstance(error, JobFailedError):
        return error.exit_code, f"exit code {error.exit_code}"
    failure = describe_failure(error)
    return failure.exit_code, failure.message


def _announce(values: Mapping[str, Any], notify: str | None, on_failure: str | None) -> None:
    content = json.dumps(values)
    if notify is not None:
        _post(notify, content.encode())
    if on_failure is not None and values["outcome"] == "failed":
        _run(on_failure, content, {"VIDCNN_EXIT_CODE": str(values["exit_code"]), "VIDCNN_ERROR": values["error"] or ""})


def _post(url: str, content: bytes) -> None:
    request = urllib.request.Request(url, content, {"Content-Type": "application/json"})
    reason = ""
    for pause in _PAUSES_SECONDS:
        time.sleep(pause)
        try:
            with urllib.request.urlopen(request, timeout=_POST_SECONDS):
                return
        except urllib.error.HTTPError as error:
            reason = f"HTTP {error.code}"
            if error.code < 500 and error.code != 429:
                break
        except OSError as error:
            cause = getattr(error, "reason", error)
            reason = describe_reason(cause) if isinstance(cause, OSError) else str(cause)
    _warn(f"--notify: {urlsplit(url).hostname} got no message of how this ended: {reason}")


def _run(command: str, content: str, variables: Mapping[str, str]) -> None:
    try:
        done = subprocess.run(
            command,
            shell=True,
            input=content,
            text=True,
            env={**os.environ, **variables},
            timeout=_COMMAND_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        _warn(f"--on-failure: the command was ended after {_COMMAND_SECONDS:.0f} s")
    except OSError as error:
        _warn(f"--on-failure: the command cannot be started: {describe_reason(error)}")
    else:
        if done.returncode:
            _warn(f"--on-failure: the command ended with exit code {done.returncode}")


def _warn(text: str) -> None:
    print(f"vidcnn: {one_line(text)}", file=sys.stderr)

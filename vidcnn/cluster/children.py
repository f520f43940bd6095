"""Programs that run beside a command and end with it, however it ends: from argument lists to a `Child`."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO

_KEEPER = Path(__file__).with_name("keeper.py")
_DIVERTING = ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS")
_END_SECONDS = 5.0


class Child:
    """A program that runs in a session of its own, so that Ctrl-C does not reach it, and that ends with this process.

    Args:
        command: The program and its arguments.
        stdout: Where its output goes, as for `subprocess.Popen`.
        stderr: Where its errors go.
        environment: Variables to set besides those of this process, less those that divert Ray to another cluster.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        stdout: int | IO[bytes],
        stderr: int | IO[bytes],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        kept = {name: value for name, value in os.environ.items() if name not in _DIVERTING}
        self._process = subprocess.Popen(
            [sys.executable, "-I", str(_KEEPER), *command],
            stdin=subprocess.PIPE,
            stdout=stdout,
            stderr=stderr,
            env=kept | dict(environment or {}),
            start_new_session=True,
        )

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.end()

    @property
    def status(self) -> int | None:
        """Its exit status, 128 and the signal's number where one ended it, or None while it runs."""
        return self._process.poll()

    def wait(self) -> int:
        """Wait for its end, and return its exit status."""
        return self._process.wait()

    def read(self) -> bytes:
        """Return all of its output; only if that is a pipe."""
        assert self._process.stdout is not None
        return self._process.stdout.read()

    def end(self) -> None:
        """End it, and what it has started."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

"""Following a job of a cluster: what it prints, as it prints it, and how it ended."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable
from typing import TextIO, TypeVar

from vidcnn.cluster.jobserver import JobServer, JobState, LostConnectionError
from vidcnn.reporting.live import LiveLine, say
from vidcnn.reporting.relay import Kind, LineReader
from vidcnn.safe_text import log_text

Result = TypeVar("Result")

_POLL_SECONDS = 0.5
_PATIENCE_SECONDS = 120.0
"""How long a connection may be lost before following is given up."""
_MAX_WAIT_SECONDS = 10.0
_MAX_LINES_BEFORE = 30
_START_SECONDS = 12.0
"""How long a cluster takes at most to start a job that it has room for."""


def follow(server: JobServer, job_id: str, *, show_progress: bool) -> JobState:
    """Show what a job prints until it ends: results on stdout, the rest on stderr.

    A connection that is lost is made again.

    Returns:
        How it ended.

    Raises:
        VidcnnError: The job server does not answer any more.
    """
    with LiveLine(enabled=show_progress) as live:
        state = _wait_for_start(server, job_id, live)
        printer = JobPrinter(live)
        while not state.is_over:
            printer.restart()
            try:
                for text in server.tail(job_id):
                    printer.take(text)
            except LostConnectionError:
                live.show("the connection is lost; trying again")
                server.mend()
            time.sleep(_POLL_SECONDS)
            state = _patiently(server, lambda: server.find(job_id))
        printer.restart()
        printer.take(_patiently(server, lambda: server.logs(job_id)))
        printer.end()
    return state


def _wait_for_start(server: JobServer, job_id: str, live: LiveLine) -> JobState:
    """Wait until a job is no longer pending; where that takes long, print the job server's words about it."""
    state = _patiently(server, lambda: server.find(job_id))
    began, shown = time.monotonic(), ""
    while state.status == "PENDING":
        live.show("waiting for the cluster to start it")
        if time.monotonic() - began > _START_SECONDS and state.message != shown:
            shown = state.message
            say(f"job {job_id} is not started yet: {shown}")
        time.sleep(_POLL_SECONDS)
        state = _patiently(server, lambda: server.find(job_id))
    return state


class JobPrinter:
    """Prints the output of a job where it belongs: results on stdout, the rest on stderr.

    What the cluster prints before the command begins is printed only if it does not begin.

    Args:
        live: Shows the progress.
        num_lines: Print only so many of the last lines, at the end; None prints all, as they come.
    """

    def __init__(self, live: LiveLine, num_lines: int | None = None) -> None:
        self._live = live
        self._kept: deque[tuple[str, TextIO]] | None = None if num_lines is None else deque(maxlen=num_lines)
        self._reader = LineReader()
        self._before: list[str] | None = []

    def restart(self) -> None:
        """Expect the job's output from its beginning; what is printed already is left out."""
        self._reader.restart()

    def take(self, text: str) -> None:
        """Print the next piece of the job's output."""
        for kind, line in self._reader.feed(text):
            self._take_line(kind, line)

    def end(self) -> None:
        """Print what is left."""
        for kind, line in self._reader.end():
            self._take_line(kind, line)
        self._print_before()
        kept, self._kept = self._kept or (), None
        for line, stream in kept:
            self._print(line, stream)

    def _take_line(self, kind: Kind, line: str) -> None:
        if self._before is not None:
            if kind == "log":
                self._before.append(line)
                if len(self._before) > _MAX_LINES_BEFORE:  # a job of another kind
                    self._print_before()
                return
            self._before = None
        if kind == "progress":
            self._live.show(line)
        else:
            self._print(line, sys.stdout if kind == "result" else sys.stderr)

    def _print_before(self) -> None:
        for line in self._before or ():
            self._print(line, sys.stderr)
        self._before = None

    def _print(self, line: str, stream: TextIO) -> None:
        if self._kept is not None:
            self._kept.append((line, stream))
            return
        self._live.clear()
        print(log_text(line), file=stream, flush=True)


def last_progress(text: str) -> str | None:
    """Return how far a job is, by what it has printed; None where it has printed nothing of this."""
    lines = [line for kind, line in LineReader().feed(text) if kind == "progress"]
    return lines[-1] if lines else None


def _patiently(server: JobServer, ask: Callable[[], Result]) -> Result:
    """Ask again while the job server does not answer, for a while."""
    deadline, wait = time.monotonic() + _PATIENCE_SECONDS, _POLL_SECONDS
    while True:
        try:
            return ask()
        except LostConnectionError:
            if time.monotonic() + wait > deadline:
                raise
            time.sleep(wait)
            server.mend()
            wait = min(2 * wait, _MAX_WAIT_SECONDS)

"""Following a job of a cluster: what it says, as it says it, and how it ended."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TextIO, TypeVar

from vidcnn.cluster.jobserver import JobServer, JobState, LostConnectionError
from vidcnn.reporting.live import LiveLine
from vidcnn.reporting.relay import Kind, LineReader

Result = TypeVar("Result")

_POLL_SECONDS = 0.5
_PATIENCE_SECONDS = 120.0
"""How long a connection may be lost before following is given up."""
_MAX_WAIT_SECONDS = 10.0
_MAX_LINES_BEFORE = 30


def follow(server: JobServer, job_id: str, *, show_progress: bool) -> JobState:
    """Show what a job says until it ends: results on stdout, the rest on stderr.

    A connection that is lost is made again.

    Returns:
        How it ended.

    Raises:
        VidcnnError: The job server does not answer any more.
    """
    with LiveLine(enabled=show_progress) as live:
        state = _patiently(server, lambda: server.find(job_id))
        while state.status == "PENDING":
            live.show("waiting for the cluster to start it")
            time.sleep(_POLL_SECONDS)
            state = _patiently(server, lambda: server.find(job_id))
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


class JobPrinter:
    """Prints what a job says where it belongs: results on stdout, the rest on stderr.

    What the cluster says before the command begins is printed only if it does not begin.

    Args:
        live: Shows the progress.
    """

    def __init__(self, live: LiveLine) -> None:
        self._live = live
        self._reader = LineReader()
        self._before: list[str] | None = []

    def restart(self) -> None:
        """Expect what the job says from its beginning; what is printed already is left out."""
        self._reader.restart()

    def take(self, text: str) -> None:
        """Print the next piece of what the job says."""
        for kind, line in self._reader.feed(text):
            self._take_line(kind, line)

    def end(self) -> None:
        """Print what is left."""
        for kind, line in self._reader.end():
            self._take_line(kind, line)
        self._print_before()

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
        self._live.clear()
        print(line, file=stream, flush=True)


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

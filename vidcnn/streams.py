"""The streams of a command: results on stdout, all else on stderr, and what becomes of either when nobody reads it.

A list on standard input is read once and kept, as it is needed several times.

- A reader of stdout that has left (``| head``) needs no more: the rest of the result is dropped, and the command
  ends as it would have.
- A stdout that was closed before the command began (``>&-``) gets nothing, and that is no failure.
- A stdout that cannot be written for another reason, such as a full disk, fails the command.
- Nothing that happens to stderr changes what a command does.
"""

from __future__ import annotations

import functools
import io
import os
import shutil
import sys
import tempfile
from typing import IO, Any, TextIO

from vidcnn.errors import OutputError, SourceError, UsageError, describe_reason
from vidcnn.safe_text import screen_text

STDIN = "-"
"""The source that is a list on standard input."""


def open_streams() -> None:
    """Make the three streams of a process that is a command's own safe to use."""
    while (
        descriptor := os.open(os.devnull, os.O_RDWR)
    ) <= 2:  # or files would get the numbers of those that are closed
        pass
    os.close(descriptor)
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(_Results(1, "w", closefd=False)), errors="backslashreplace", line_buffering=os.isatty(1)
    )
    sys.stderr = open_stderr(2)


def open_stderr(descriptor: int) -> TextIO:
    """Return a stream to stderr, line by line, on which writing does not fail."""
    return io.TextIOWrapper(
        io.BufferedWriter(_Forgiving(descriptor, "w", closefd=False)), errors="backslashreplace", line_buffering=True
    )


def open_stdin() -> IO[bytes]:
    """Open what standard input had, from its beginning; the first call reads it to its end.

    Raises:
        UsageError: It is a terminal.
        SourceError: It cannot be read, or not be kept.
    """
    return open(f"/proc/self/fd/{_kept_stdin().fileno()}", "rb")  # a position of its own in the same file


@functools.cache
def _kept_stdin() -> IO[bytes]:
    """Read standard input into a file without a name, which ends with this process."""
    if os.isatty(0):
        raise UsageError(
            f"the source {STDIN} is a list on standard input, and that is a terminal",
            "pipe a list into it: find videos -name '*.mp4' | vidcnn infer -",
        )
    try:
        kept = tempfile.TemporaryFile(prefix="vidcnn-")  # noqa: SIM115 - it is kept open
        with open(0, "rb", closefd=False) as given:
            shutil.copyfileobj(given, kept)
        kept.flush()
    except OSError as error:
        raise SourceError(
            f"the list on standard input cannot be read or kept: {describe_reason(error)}",
            "it is kept in the folder of temporary files: make room there, or name another in TMPDIR",
        ) from error
    return kept


def show(text: str, *, end: str = "\n") -> None:
    """Print a result on stdout, in which nothing changes the terminal.

    Raises:
        OutputError: It cannot be written, for another reason than that its reader has left.
    """
    try:
        sys.stdout.write(screen_text(text) + end)
        sys.stdout.flush()
    except OSError as error:
        if not isinstance(error, BrokenPipeError):
            raise unwritten(error) from error


def stdout_fault() -> OSError | None:
    """Return why a result could not be written, if that happened; what followed it was dropped."""
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    return raw.fault if isinstance(raw, _Results) else None


def unwritten(fault: OSError) -> OutputError:
    """Return the error for that."""
    reason = f"the result cannot be written to stdout: {describe_reason(fault)}"
    return OutputError(reason, "make room, or send it elsewhere")


class _Results(io.FileIO):
    """Fails once where it cannot be written, and drops the rest."""

    fault: OSError | None = None

    def write(self, data: Any) -> int:
        if self.fault is None:
            try:
                return super().write(data) or 0
            except OSError as error:
                self.fault = error
                raise
        return len(memoryview(data).cast("B"))


class _Forgiving(io.FileIO):
    """Takes what cannot be written for written."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data) or 0
        except OSError:
            return len(memoryview(data).cast("B"))

"""The output of a command that runs on a cluster, on its way to the command that follows it.

A job of a cluster has one stream for everything. So the command that runs there marks its lines, and the one that
follows takes them apart again: results go to stdout, the rest to stderr, and progress stays one live line.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from typing import Literal, TextIO

Kind = Literal["result", "progress", "log"]

_MARKS: dict[str, Kind] = {"\x1e": "result", "\x1d": "progress"}
_MARK_OF = {kind: mark for mark, kind in _MARKS.items()}

_enabled = False


def mark_output() -> None:
    """Mark what this process prints from now on."""
    global _enabled
    _enabled = True
    sys.stdout = _MarkedLines(sys.stdout)


def say_ready() -> None:
    """Mark that the command begins: what was printed before is the cluster's own."""
    print(marked("progress", "starting"), file=sys.stderr, flush=True)


def is_marked() -> bool:
    """Return whether what this process prints is marked."""
    return _enabled


def marked(kind: Kind, line: str) -> str:
    """Return a line as it is sent."""
    return f"{_MARK_OF.get(kind, '')}{line}"


class LineReader:
    """Takes the stream of a job apart.

    The stream may be read again from its beginning after a lost connection: what came before is left out.
    """

    def __init__(self) -> None:
        self._num_taken = 0
        self._num_to_skip = 0
        self._rest = ""

    def restart(self) -> None:
        """Expect the stream from its beginning."""
        self._num_to_skip = self._num_taken

    def feed(self, text: str) -> Iterator[tuple[Kind, str]]:
        """Take the next piece of the stream, and yield the lines that are whole, with what each is."""
        skipped = min(self._num_to_skip, len(text))
        self._num_to_skip -= skipped
        self._num_taken += len(text) - skipped
        *lines, self._rest = (self._rest + text[skipped:]).split("\n")
        for line in lines:
            yield _kind_of(line)

    def end(self) -> Iterator[tuple[Kind, str]]:
        """Yield what follows the last end of a line, if there is anything."""
        if self._rest:
            yield _kind_of(self._rest)
            self._rest = ""


def _kind_of(line: str) -> tuple[Kind, str]:
    kind = _MARKS.get(line[:1])
    return ("log", line) if kind is None else (kind, line[1:])


class _MarkedLines(io.TextIOBase):
    """Marks each line of a stream as a result."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._at_start = True

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._stream.encoding

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._stream.fileno()

    def flush(self) -> None:
        self._stream.flush()

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"this stream takes text, not {type(text).__name__}")
        for line in text.splitlines(keepends=True):
            self._stream.write(marked("result", line) if self._at_start else line)
            self._at_start = line.endswith("\n")
        return len(text)

"""A line on stderr that shows how far something is.

On a terminal it is one line that changes and is never longer than the terminal is wide. Elsewhere, in a file or where a
terminal can do nothing but print, a line is printed at the start and then once a minute. On a cluster it is sent to the
command that follows.
"""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

from vidcnn.reporting.relay import is_marked, marked
from vidcnn.safe_text import one_line, screen_text

_PLAIN_INTERVAL_SECONDS = 60.0
_LIVE_INTERVAL_SECONDS = 0.25
_RELAY_INTERVAL_SECONDS = 2.0

_BAR_WIDTHS = (20, 10)
_ERASE = "\r\x1b[K"
_ASCII = str.maketrans({"━": "#", "─": "-", "·": "|", "…": "~"})

_shown: list[LiveLine] = []
"""The lines that there are, the innermost last."""

_lock = threading.RLock()
"""Held while something is printed: threads print, too."""


class LiveLine:
    """A line on stderr. Use it as a context manager.

    Args:
        enabled: False shows nothing.
    """

    def __init__(self, *, enabled: bool = True) -> None:
        self._enabled = enabled
        self.is_live = enabled and _is_terminal()
        self._last = time.monotonic()
        self._has_line = False

    def __enter__(self) -> Self:
        _shown.append(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.clear()
        _shown.remove(self)

    def is_due(self) -> bool:
        """Return whether it is time for another line."""
        if self.is_live:
            interval = _LIVE_INTERVAL_SECONDS
        else:
            interval = _RELAY_INTERVAL_SECONDS if is_marked() else _PLAIN_INTERVAL_SECONDS
        return self._enabled and time.monotonic() - self._last >= interval

    def begin(self, line: str) -> None:
        """Show a line at once: what is being done before there is anything to count."""
        if self._enabled:
            self._write(line)

    def show(self, line: str) -> None:
        """Show a line, if it is time to."""
        if self.is_due():
            self._write(line)

    def clear(self) -> None:
        """Make room for something else."""
        with _lock:
            if self._has_line:
                _put(_ERASE)
                self._has_line = False

    def _write(self, line: str) -> None:
        line = one_line(line)
        with _lock:
            self._last = time.monotonic()
            if self.is_live:
                _put(_ERASE + cut(line, columns()))
                self._has_line = True
            else:
                _put(marked("progress", line) + "\n" if is_marked() else f"{line}\n")


class ProgressDisplay(LiveLine):
    """Shows how far something is, at each call that announces a change.

    Args:
        describe: Returns the share of the work that is done, in [0, 1], and the state in one line.
        enabled: False shows nothing.
    """

    def __init__(self, describe: Callable[[], tuple[float, str]], *, enabled: bool = True) -> None:
        super().__init__(enabled=enabled)
        self._describe = describe

    def update(self) -> None:
        """Show the present state, if it is time to."""
        if self.is_due():
            fraction, line = self._describe()
            if self.is_live:
                line = with_bar(fraction, line, columns())
            elif is_marked():
                line = f"{bar(fraction)} {line}"
            self.show(line)


def say(text: str) -> None:
    """Print a line on stderr, in the place of a live one, which is shown again later."""
    with _lock:
        for line in _shown:
            line.clear()
        _put(f"{screen_text(text)}\n")


def with_bar(fraction: float, line: str, num_columns: int) -> str:
    """Put a bar before a line, as wide a one as there is room for, if there is.

    Args:
        fraction: Share of the work that is done, in [0, 1].
        line: What is shown after the bar.
        num_columns: Width of the terminal.
    """
    for width in _BAR_WIDTHS:
        text = f"{bar(fraction, width)} {line}"
        if len(text) < num_columns:
            return text
    return line


def cut(line: str, num_columns: int) -> str:
    """Return as much of a line as leaves the last column of a terminal free, so that it does not wrap."""
    room = max(num_columns - 1, 1)
    return line if len(line) <= room else line[: room - 1] + "…"


def bar(fraction: float, width: int = _BAR_WIDTHS[0]) -> str:
    """Return a bar of `width` characters, filled to `fraction` in [0, 1], and the percentage."""
    filled = round(fraction * width)
    return "━" * filled + "─" * (width - filled) + f" {fraction:4.0%}"


def columns() -> int:
    """Return the width of the terminal that stderr is; 80 where that is not known."""
    with suppress(OSError, ValueError):
        return os.get_terminal_size(sys.stderr.fileno()).columns or 80
    return shutil.get_terminal_size((80, 24)).columns


def _is_terminal() -> bool:
    """Return whether stderr can change a line that is printed."""
    return sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def _put(text: str) -> None:
    with suppress(OSError, ValueError):  # nothing that happens to stderr changes how a run ends
        try:
            text.encode(sys.stderr.encoding or "utf-8")
        except UnicodeEncodeError:
            text = text.translate(_ASCII)
        sys.stderr.write(text)
        sys.stderr.flush()

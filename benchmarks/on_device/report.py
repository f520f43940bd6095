"""A report that is written after each part, so that what was measured is kept whatever ends the program."""

from __future__ import annotations

import json
import os
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

Figures = dict[str, Any]

_GRACE_SECONDS = 5.0
"""What is under way when time is up may end within this."""


class Report:
    """Runs the parts of a benchmark one after the other, within a time.

    Args:
        about: What is measured, and on what.
        seconds: Time for all parts; what has not begun by then is left out, and what is under way is ended.
        out: Where the report is written as JSON; None prints it only.
        end: Ends the process.
    """

    def __init__(
        self, about: Figures, seconds: float, out: Path | None, *, end: Callable[[int], object] = os._exit
    ) -> None:
        self.parts: dict[str, Figures] = {}
        self._about = about
        self._ends_at = time.monotonic() + seconds
        self._out = out
        self._end = end
        self._current = ""
        self._lock = threading.Lock()
        self._watch = threading.Timer(seconds + _GRACE_SECONDS, self._give_up)
        self._watch.daemon = True
        self._watch.start()

    @property
    def seconds_left(self) -> float:
        """Time that is left for all that is still to do."""
        return self._ends_at - time.monotonic()

    def part(self, name: str, measure: Callable[[], Figures], *, least_seconds: float = 5.0) -> Figures:
        """Measure a part, print its figures, and return them; what goes wrong is a part of the report.

        Args:
            name: Name of the part.
            measure: Returns its figures.
            least_seconds: Where less time is left, the part is left out.
        """
        self._current = name
        began = time.monotonic()
        if self.seconds_left < least_seconds:
            figures: Figures = {"left_out": f"{self.seconds_left:.0f} s left, and it needs {least_seconds:.0f}"}
        else:
            try:
                figures = measure()
            except LeftOutError as error:
                figures = {"left_out": str(error)}
            except Exception as error:
                last = traceback.extract_tb(error.__traceback__)[-1]
                text = " ".join(str(error).split())[:300]
                figures = {"failed": f"{type(error).__name__}: {text} ({Path(last.filename).name}:{last.lineno})"}
        figures["seconds"] = time.monotonic() - began
        self.parts[name] = figures
        print(f"{name}:", *_lines(figures), sep="\n  ", flush=True)
        self._write()
        return figures

    def close(self) -> None:
        """Stop watching the time."""
        self._watch.cancel()

    def _write(self) -> None:
        with self._lock:
            if self._out is not None:
                text = json.dumps({**self._about, "parts": self.parts}, indent=2, default=str)
                self._out.write_text(text + "\n")

    def _give_up(self) -> None:
        """End the process: what is under way may be a compiler, or a driver, that listens to nobody."""
        self.parts.setdefault(self._current, {"failed": "time was up"})
        self._write()
        print(f"time was up in '{self._current}'", flush=True)
        self._end(0)


class LeftOutError(Exception):
    """A part that cannot be measured here, and why."""


def _lines(figures: Figures) -> list[str]:
    return [f"{name}: {_text(value)}" for name, value in figures.items()]


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_text(one)}" for name, one in value.items())
    return str(value)

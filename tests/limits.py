"""A limit of time for what hangs when it is broken: a test then fails by its name, and holds up no others."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Let the block fail if it takes longer; for the main thread.

    Args:
        seconds: Much longer than the block takes on the busiest machine.

    Raises:
        AssertionError: It does.
    """

    def fail(number: int, frame: FrameType | None) -> None:
        raise AssertionError(f"it hangs: it is not done within {seconds:g} s")

    before = signal.signal(signal.SIGALRM, fail)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)

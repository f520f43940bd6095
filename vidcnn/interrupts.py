"""Ending a run early in good order."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from vidcnn.errors import RunInterruptedError


@contextmanager
def interruptible(hint: str) -> Iterator[None]:
    """Let SIGTERM end a run as Ctrl-C does.

    Args:
        hint: What becomes of the work that is done.

    Raises:
        RunInterruptedError: The block was ended by one of the two.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    if in_main_thread:
        previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except (KeyboardInterrupt, SystemExit):  # the latter from Ray's own handler, while it starts
        raise RunInterruptedError("interrupted", hint) from None
    finally:
        if in_main_thread:
            signal.signal(signal.SIGTERM, previous)

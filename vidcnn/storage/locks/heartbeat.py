"""The signs of life of a lock's holder, and how long its silence is taken for life."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class LeaseTiming:
    """When a holder shows that it lives, and when it is taken for dead, in seconds.

    Attributes:
        renew_seconds: From one sign of life to the next.
        lost_seconds: A holder that could not give one for so long takes its lock for lost; well before others do.
        dead_seconds: A holder that gave none for so long is dead to others.
        retry_seconds: About how long to wait before trying again, where several take the lock at once.
        num_attempts: How often to try.
    """

    renew_seconds: float = 20.0
    lost_seconds: float = 60.0
    dead_seconds: float = 90.0
    retry_seconds: float = 0.5
    num_attempts: int = 20


USUAL = LeaseTiming()


class Heartbeat:
    """Calls a function again and again, in a thread of its own.

    Args:
        beat: Returns the seconds until the next call, or None for no more.
        first_seconds: Until the first call.
    """

    def __init__(self, beat: Callable[[], float | None], first_seconds: float) -> None:
        self._beat = beat
        self._first_seconds = first_seconds
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="output-lock", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the calls; the last one is over when this returns."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        wait_seconds: float | None = self._first_seconds
        while wait_seconds is not None and not self._stopped.wait(wait_seconds):
            wait_seconds = self._beat()

"""How a thread spends its time: computing, waiting for a processor, or waiting for something else.

From the system's own counters to differences of seconds.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from itertools import chain
from typing import NamedTuple

from vidcnn.sandbox.confinement import Strength

Confined = tuple[tuple[str, Strength], ...]
"""Names of machines, each with what confined all processes there that read or decoded."""


class ThreadTime(NamedTuple):
    """Time that a thread has spent.

    Attributes:
        seconds: Wall time.
        cpu_seconds: The part of it in which it computed.
        queue_seconds: The part of it in which it was ready to compute, and processors were taken; where the system
            does not show that, all of the rest.
    """

    seconds: float
    cpu_seconds: float
    queue_seconds: float


class StageTimes(NamedTuple):
    """What the stages measured of some clips, in seconds of a worker.

    Attributes:
        decode_seconds: Reading and decoding.
        decode_cpu_seconds: The part of it that a processor computed.
        decode_queue_seconds: The part of it that had to wait for a processor.
        model_seconds: Computing the model.
        model_wait_seconds: All else that the model's processes do from one batch to the next: above all, waiting.
        plan_seconds: Reading what videos contain, before they are decoded.
        plan_read_seconds: The part of it in which nothing was computed: it was waiting for reads.
        confined: What confined the processes that read or decoded. Who started them says it, not they themselves.
    """

    decode_seconds: float = 0.0
    decode_cpu_seconds: float = 0.0
    decode_queue_seconds: float = 0.0
    model_seconds: float = 0.0
    model_wait_seconds: float = 0.0
    plan_seconds: float = 0.0
    plan_read_seconds: float = 0.0
    confined: Confined = ()

    def plus(self, other: StageTimes) -> StageTimes:
        """Add what was measured elsewhere."""
        seconds = (mine + theirs for mine, theirs in zip(self[:-1], other[:-1], strict=True))
        return StageTimes._make((*seconds, weakest(self.confined, other.confined)))


class Stopwatch:
    """Measures the thread that it is used in, from its making on."""

    def __init__(self) -> None:
        self._wall, self._cpu, self._queue = time.perf_counter(), time.thread_time(), _queue_seconds()

    def read(self) -> ThreadTime:
        """Return what was spent since the stopwatch was made."""
        wall = time.perf_counter() - self._wall
        cpu = min(wall, max(0.0, time.thread_time() - self._cpu))
        queue = _queue_seconds()
        waited = wall - cpu
        if queue is not None and self._queue is not None:
            waited = min(waited, max(0.0, queue - self._queue))
        return ThreadTime(wall, cpu, waited)


def keep_counter_open() -> None:
    """Let stopwatches of this thread work on when no file can be opened any more."""
    with suppress(OSError):
        _counters[threading.get_ident()] = os.open(_COUNTER, os.O_RDONLY | os.O_CLOEXEC)


def weakest(*several: Confined) -> Confined:
    """Return what holds for all of several groups of processes, for each machine."""
    found: dict[str, Strength] = {}
    for machine, strength in chain(*several):
        found[machine] = strength.weaker(found.get(machine, strength))
    return tuple(found.items())


_COUNTER = "/proc/thread-self/schedstat"
_counters: dict[int, int] = {}


def _queue_seconds() -> float | None:
    """Return how long this thread has waited for a processor so far; None where the system does not count it."""
    counter = _counters.get(threading.get_ident())
    try:
        if counter is not None:
            content = os.pread(counter, 256, 0)
        else:
            with open(_COUNTER, "rb") as file:
                content = file.read()
        computed, queued, _ = map(int, content.split())
    except (OSError, ValueError):
        return None
    return queued / 1e9 if computed else None

"""Work that goes wrong in a decoding process, importable there."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from vidcnn.video.cell_status import at, reading


def double(numbers: list[int]) -> Iterator[int]:
    for position, number in enumerate(numbers):
        at(position)
        yield 2 * number


def pid(numbers: list[int]) -> Iterator[int]:
    yield os.getpid()


def arrays(sizes: list[int]) -> Iterator[dict[str, Any]]:
    for size in sizes:
        yield {"size": size, "a": np.arange(size, dtype=np.uint32), "b": np.full((size, 2), 7, np.uint8)}


def misbehave(deeds: list[str]) -> Iterator[str]:
    """Do what each item says, and yield it if there still is somebody to."""
    for position, deed in enumerate(deeds):
        at(position)
        if deed == "segfault":
            ctypes.string_at(0)
        elif deed == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif deed == "exit":
            os._exit(3)
        elif deed == "hang":
            time.sleep(600)
        elif deed == "read":
            with reading():
                time.sleep(600)
        elif deed == "compute":
            while True:
                pass
        elif deed == "raise":
            raise TypeError("an integer is required")
        elif deed == "unpicklable":
            yield lambda: None  # type: ignore[misc]
        else:
            yield deed


def variable(names: Sequence[str]) -> Iterator[str | None]:
    """Yield the values of environment variables."""
    for name in names:
        yield os.environ.get(name)


def refuse(items: Sequence[int]) -> Iterator[int]:
    """Raise at once, and yield nothing."""
    raise ValueError("not today")

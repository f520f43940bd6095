"""What a decoding process shows of itself while it works: two numbers in memory that its parent can see.

When the process hangs or dies, they show over which piece of work, and whether it was waiting for the storage. In any
other process, to set them does nothing.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from contextlib import contextmanager

STATUS_BYTES = 16
_POSITION, _IS_READING = 0, 1

_shown: memoryview | None = None


class CellStatus:
    """The two numbers, as the parent sees them.

    Args:
        file: Descriptor of `STATUS_BYTES` bytes of shared memory.
    """

    def __init__(self, file: int) -> None:
        self._numbers = _numbers(file)

    @property
    def position(self) -> int:
        """Index of the piece of work that the process is at, as it says."""
        return max(0, self._numbers[_POSITION])

    @property
    def is_reading(self) -> bool:
        """Whether it waits for the storage."""
        return bool(self._numbers[_IS_READING])

    def reset(self) -> None:
        """Show the beginning of some work."""
        self._numbers[_POSITION] = self._numbers[_IS_READING] = 0


def show(file: int) -> None:
    """Let this process show what it does.

    Args:
        file: Descriptor of the memory that its parent sees too.
    """
    global _shown
    _shown = _numbers(file)


def at(position: int) -> None:
    """Show which piece of work this process is at now."""
    if _shown is not None:
        _shown[_POSITION] = position


@contextmanager
def reading() -> Iterator[None]:
    """Show that this process waits for the storage, for as long as the block lasts."""
    if _shown is not None:
        _shown[_IS_READING] = 1
    try:
        yield
    finally:
        if _shown is not None:
            _shown[_IS_READING] = 0


def _numbers(file: int) -> memoryview:
    return memoryview(mmap.mmap(file, STATUS_BYTES)).cast("q")

"""The largest batch that a device's memory holds, found by trying."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch

Result = TypeVar("Result")

_COMPLAINTS = ("out of memory", "ALLOC_FAILED")
"""What errors of libraries, of drivers and of compilers say, which have no type of their own for it."""


def lacks_memory(error: BaseException) -> bool:
    """Return whether an error says that a device's memory is too small."""
    says_so = isinstance(error, RuntimeError) and any(text in str(error) for text in _COMPLAINTS)
    return isinstance(error, torch.OutOfMemoryError) or says_so


def largest_fitting(wanted: int, attempt: Callable[[int], Result], *, release: Callable[[], None]) -> Result:
    """Try a batch size, then half of it, and so on, until one fits.

    Args:
        wanted: The size to try first.
        attempt: Does what takes the memory, for a batch size.
        release: Gives back what a failed attempt leaves behind.

    Returns:
        What the attempt that fits returns.

    Raises:
        RuntimeError: Not even a batch of one fits (see `lacks_memory`).
    """
    size = wanted
    while True:
        try:
            return attempt(size)
        except RuntimeError as error:
            if size == 1 or not lacks_memory(error):
                raise
        # Only here is the error forgotten, and with it all that the failed attempt held.
        release()
        size //= 2

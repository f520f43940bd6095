"""The largest batch that a device's memory holds, found by trying."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch

Result = TypeVar("Result")


def largest_fitting(wanted: int, attempt: Callable[[int], Result], *, release: Callable[[], None]) -> Result:
    """Try a batch size, then half of it, and so on, until one fits.

    Args:
        wanted: The size to try first.
        attempt: Does what takes the memory, for a batch size.
        release: Gives back what a failed attempt leaves behind.

    Returns:
        What the attempt that fits returns.

    Raises:
        torch.OutOfMemoryError: Not even a batch of one fits.
    """
    size = wanted
    while True:
        try:
            return attempt(size)
        except torch.OutOfMemoryError:
            if size == 1:
                raise
        # Only here is the error forgotten, and with it all that the failed attempt held.
        release()
        size //= 2

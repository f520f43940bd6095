"""Trying again what failed through no fault of its own: how often, and after which pauses."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from vidcnn.errors import StorageError

Value = TypeVar("Value")


@dataclass(frozen=True)
class RetryPolicy:
    """When to try again.

    Args:
        num_tries: How often a thing is tried in all, at least once.
        first_wait_seconds: Pause after the first failure.
        growth: Each pause is so many times as long as the one before.
        max_wait_seconds: No pause is longer.
        spread: Share by which a pause is made longer or shorter by chance, so that many do not come back at once.
    """

    num_tries: int = 4
    first_wait_seconds: float = 0.5
    growth: float = 4.0
    max_wait_seconds: float = 30.0
    spread: float = 0.25

    def waits(self) -> Iterator[float]:
        """Yield the pauses in seconds, one fewer than there are tries."""
        wait = self.first_wait_seconds
        for _ in range(self.num_tries - 1):
            yield min(wait, self.max_wait_seconds) * random.uniform(1 - self.spread, 1 + self.spread)
            wait *= self.growth


USUAL = RetryPolicy()


def retrying(
    action: Callable[[], Value],
    *,
    policy: RetryPolicy = USUAL,
    is_passing: Callable[[Exception], bool] = lambda error: isinstance(error, StorageError),
    sleep: Callable[[float], object] = time.sleep,
) -> Value:
    """Call a function until it succeeds.

    Args:
        action: The function.
        policy: How often, and after which pauses.
        is_passing: Whether an error is worth another try; else it is raised at once.
        sleep: Waits for some seconds.

    Returns:
        What the function returned.

    Raises:
        Exception: What the last call raised.
    """
    for wait in policy.waits():
        try:
            return action()
        except Exception as error:
            if not is_passing(error):
                raise
        sleep(wait)
    return action()

"""Whether workers that failed are started again: as long as the run makes progress.

Takes the steps of the newest checkpoint before the first attempt and after each failed one; returns a decision. Pure
arithmetic.
"""

from __future__ import annotations

from collections.abc import Sequence

MAX_FRUITLESS = 4
"""Attempts in a row that bring no new checkpoint, after which a run ends."""

_MAX_PAUSE_SECONDS = 30.0


def num_fruitless(saved: Sequence[int]) -> int:
    """Count the failed attempts since the last one that brought the run further.

    ::

        saved       0 | 40  40  90  90  90      step of the newest checkpoint, before | after each attempt
        further         yes no  yes no  no
        fruitless   0   0   1   0   1   2

    Args:
        saved: Step of the newest checkpoint before the first attempt, and after each; 0 where there is none. A step
            below an earlier one is no progress: the file of a checkpoint may have been lost.
    """
    furthest, count = saved[0], 0
    for step in saved[1:]:
        count = 0 if step > furthest else count + 1
        furthest = max(furthest, step)
    return count


def may_start_again(saved: Sequence[int]) -> bool:
    """Return whether workers are to be started once more, however often they have failed before."""
    return num_fruitless(saved) < MAX_FRUITLESS


def pause_seconds(saved: Sequence[int]) -> float:
    """Return how long to wait before that: nothing after progress, and then longer each time."""
    count = num_fruitless(saved)
    return 0.0 if not count else min(_MAX_PAUSE_SECONDS, 2.0 ** (count - 1))

"""How evenly the frames of a video follow each other, from their times alone.

From `FrameTimes` to counts and seconds, in exact arithmetic, so that the unit of time does not count. A distance
between two frames is *usual*, *odd*, or a *gap*, by the median of all of them::

    frame      0   1   2   3       4   5                     6   7
    distance     1   1   1     2     1            6            1        median 1: one is odd, one is a gap
"""

from __future__ import annotations

from fractions import Fraction
from math import floor
from typing import NamedTuple

import numpy as np

from vidcnn.sampling.grid import FrameTimes, IntArray

_GAP_DISTANCES = 4
_GAP_SECONDS = Fraction(1, 2)
"""A gap is longer than this, and than so many usual distances."""

_ODD_SHARE = Fraction(1, 10)
_ODD_SECONDS = Fraction(15, 10_000)
"""A distance is odd where it differs from the usual one by more than this share of it, and by more than containers that
count milliseconds round."""

_VARIABLE_SHARE = Fraction(1, 100)
"""Of the distances that are no gaps, more are odd where the rate is variable: a few dropped frames do not count."""


class Pace(NamedTuple):
    """How a video's frames follow each other.

    Attributes:
        duration_seconds: From the first frame to the end of the last.
        num_frames: Frames, with those that are known to be cut off.
        frame_rate: Mean number of frames per second.
        is_variable_rate: Whether the distances between frames differ.
        num_gaps: Distances that are much longer than usual.
        longest_gap_seconds: The longest of them; 0 where there is none.
        num_keyframes: Frames where decoding can start.
        longest_keyframe_seconds: The longest time from one of these to the next, or to the end.
    """

    duration_seconds: float
    num_frames: int
    frame_rate: float
    is_variable_rate: bool
    num_gaps: int
    longest_gap_seconds: float
    num_keyframes: int
    longest_keyframe_seconds: float


def pace_of(times: FrameTimes) -> Pace:
    """Return how the frames of a video follow each other."""
    unit = times.time_base
    duration = (times.end - int(times.pts[0])) * unit
    gaps, is_variable = _judge(np.diff(times.pts), unit)
    keyframes = times.pts[np.union1d(times.keyframes, [0])]
    between = np.diff(np.append(keyframes, times.end))
    return Pace(
        duration_seconds=float(duration),
        num_frames=times.num_frames,
        frame_rate=float(times.num_frames / duration),
        is_variable_rate=is_variable,
        num_gaps=len(gaps),
        longest_gap_seconds=float(int(gaps.max(initial=0)) * unit),
        num_keyframes=len(keyframes),
        longest_keyframe_seconds=float(int(between.max()) * unit),
    )


def _judge(distances: IntArray, unit: Fraction) -> tuple[IntArray, bool]:
    """Return the gaps among distances, and whether the others differ."""
    if len(distances) == 0:
        return distances, False
    usual = Fraction(float(np.median(distances)))  # a whole number or a half one
    is_gap = distances > floor(max(_GAP_DISTANCES * usual, _GAP_SECONDS / unit))
    from_usual = np.abs(2 * distances - int(2 * usual))
    is_odd = from_usual > floor(2 * max(_ODD_SHARE * usual, _ODD_SECONDS / unit))
    num_odd, num_judged = int((is_odd & ~is_gap).sum()), int((~is_gap).sum())
    return distances[is_gap], num_odd > _VARIABLE_SHARE * num_judged

"""How evenly the frames of a video follow each other, from their times alone.

From `FrameTimes` to counts and seconds, in exact arithmetic where it matters. A distance between two frames is *usual*,
*odd*, or a *gap*, by the median of all of them::

    frame      0   1   2   3       4   5                     6   7
    distance     1   1   1     2     1            6            1        median 1: one is odd, one is a gap
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vidcnn.sampling.grid import FloatArray, FrameTimes

_GAP_DISTANCES = 4
_GAP_SECONDS = 0.5
"""A gap is longer than this, and than so many usual distances."""

_ODD_SHARE = 0.1
_ODD_SECONDS = 0.0015
"""A distance is odd where it differs from the usual one by more than this share of it, and by more than containers that
count milliseconds round."""

_VARIABLE_SHARE = 0.01
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
    distances = np.diff(times.pts) * float(unit)
    gaps, is_variable = _judge(distances)
    keyframes = times.pts[np.union1d(times.keyframes, [0])]
    between = np.diff(np.append(keyframes, times.end))
    return Pace(
        duration_seconds=float(duration),
        num_frames=times.num_frames,
        frame_rate=float(times.num_frames / duration),
        is_variable_rate=is_variable,
        num_gaps=len(gaps),
        longest_gap_seconds=float(gaps.max(initial=0.0)),
        num_keyframes=len(keyframes),
        longest_keyframe_seconds=float(int(between.max()) * unit),
    )


def _judge(distances: FloatArray) -> tuple[FloatArray, bool]:
    """Return the gaps among distances in seconds, and whether the others differ."""
    if len(distances) == 0:
        return distances, False
    usual = float(np.median(distances))
    is_gap = distances > max(_GAP_DISTANCES * usual, _GAP_SECONDS)
    is_odd = np.abs(distances - usual) > max(_ODD_SHARE * usual, _ODD_SECONDS)
    num_odd, num_judged = int((is_odd & ~is_gap).sum()), int((~is_gap).sum())
    return distances[is_gap], num_odd > _VARIABLE_SHARE * num_judged

"""When the last frame of a video leaves the screen.

No later frame tells it. In order of trust: the frame's own duration, the end that the container declares, and the usual
distance between frames; none of them beyond the declared end, where that lies behind the last frame at all.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from vidcnn.grid import IntArray
from vidcnn.video.container import OpenVideo

_UNDECLARED = ("mpegts", "mpeg", "flv", "live_flv", "nut")
"""Containers that do not say when they end, or say when their last frame begins: libav estimates the rest."""

_COUNTED_FROM_ZERO = ("matroska", "webm")
"""Containers whose duration counts from time 0, not from the first frame."""

_MAX_STILL_SECONDS = 60
"""A single frame is not held longer because a header says so."""


def declared_end(video: OpenVideo) -> int | None:
    """Return the end that the container declares, in the stream's time base, or None where it declares none."""
    stream, container = video.stream, video.container
    names = container.format.name.split(",")
    if not stream.time_base or any(name in _UNDECLARED for name in names):
        return None
    if stream.duration:
        return int((stream.start_time or 0) + stream.duration)
    if not container.duration:
        return None
    is_from_zero = any(name in _COUNTED_FROM_ZERO for name in names)
    microseconds = container.duration + (0 if is_from_zero else container.start_time or 0)
    return round(Fraction(microseconds, 1_000_000) / stream.time_base)


def end_of_last(
    ordered: IntArray,
    own_duration: int,
    nominal_gap: Fraction,
    time_base: Fraction,
    declared: int | None,
    *,
    is_alone: bool,
) -> int:
    """Return when the last frame leaves the screen.

    Args:
        ordered: Increasing times of the frames.
        own_duration: What the container says of the last frame; 0 where it says nothing.
        nominal_gap: From one frame to the next at the stream's rate.
        time_base: Seconds per unit of all these.
        declared: The end that the container declares.
        is_alone: Whether the stream is the only one, so that it is this one's end that the container declares.
    """
    last, span = int(ordered[-1]), int(ordered[-1] - ordered[0])
    gap = max(1, int(np.median(np.diff(ordered))) if len(ordered) > 1 else int(nominal_gap))
    room = declared - last if declared is not None and declared > last else None
    if own_duration > 0 and (own_duration <= 4 * gap or span == 0 or (room is not None and own_duration <= room)):
        held = own_duration
    else:
        # A header that lies must not fill the table.
        most = max(4 * gap, span) if span else int(_MAX_STILL_SECONDS / time_base)
        held = room if is_alone and room is not None and room <= most else gap
    return last + max(1, held if room is None else min(held, room))

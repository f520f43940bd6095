"""When the last frame of a video leaves the screen.

No later frame shows it. In order of trust: the frame's own duration, the end that the container declares, and the usual
distance between frames; none of them beyond the declared end, where that is behind the last frame at all, and none out
of all proportion to the frames that are there.
"""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

import numpy as np

from vidcnn.sampling.grid import IntArray
from vidcnn.video.container import OpenVideo

_UNDECLARED = ("mpegts", "mpeg", "nut")
"""Containers that do not declare their end: libav estimates it, or takes when their last frame begins."""

_COUNTED_FROM_ZERO = ("matroska", "webm", "flv", "live_flv")
"""Containers whose duration counts from time 0, not from the first frame."""

_INEXACT = ("flv", "live_flv")
"""Containers whose duration is what their writer likes, such as when the last frame begins, rounded up."""

_MAX_STILL_SECONDS = 60
"""For each frame of a video, the last one may stay this long, and no longer, whatever is declared."""


class DeclaredEnd(NamedTuple):
    """The end that a container declares.

    Attributes:
        time: In the stream's time base.
        is_exact: Whether no frame is shown longer.
        is_shared: Whether other streams may be what ends then.
    """

    time: int
    is_exact: bool = True
    is_shared: bool = False


def declared_end(video: OpenVideo) -> DeclaredEnd | None:
    """Return the end that a video's container declares, or None where it declares none."""
    stream, container = video.stream, video.container
    names = frozenset(container.format.name.split(","))
    if not stream.time_base or names.intersection(_UNDECLARED):
        return None
    is_exact, is_shared = not names.intersection(_INEXACT), len(container.streams) > 1
    if stream.duration:
        return DeclaredEnd(int((stream.start_time or 0) + stream.duration), is_exact, is_shared)
    if not container.duration:
        return None
    is_from_zero = bool(names.intersection(_COUNTED_FROM_ZERO))
    microseconds = container.duration + (0 if is_from_zero else container.start_time or 0)
    return DeclaredEnd(round(Fraction(microseconds, 1_000_000) / stream.time_base), is_exact, is_shared)


def end_of_last(
    ordered: IntArray, own_duration: int, *, nominal_gap: Fraction, time_base: Fraction, declared: DeclaredEnd | None
) -> int:
    """Return when the last frame leaves the screen.

    Args:
        ordered: Increasing times of the frames.
        own_duration: The container's duration of the last frame; 0 where it has none.
        nominal_gap: From one frame to the next at the stream's rate.
        time_base: Seconds per unit of all these.
        declared: The end that the container declares.
    """
    last, span = int(ordered[-1]), int(ordered[-1] - ordered[0])
    still = int(_MAX_STILL_SECONDS * len(ordered) / time_base)
    gap = max(1, int(np.median(np.diff(ordered))) if len(ordered) > 1 else min(int(nominal_gap), still))
    own_duration = min(own_duration, max(4 * gap, span, still) if span else still)
    if declared is None or declared.time <= last:
        is_plausible = own_duration <= 4 * gap or span == 0
        return last + (own_duration if own_duration > 0 and is_plausible else gap)
    room = declared.time - last
    if own_duration > 0 and (own_duration <= max(4 * gap, room) or span == 0):
        return last + (min(own_duration, room) if declared.is_exact else own_duration)
    # A wrong header must not fill the table.
    most = max(4 * gap, span) if span else int(_MAX_STILL_SECONDS / time_base)
    return last + (room if room <= most and not declared.is_shared else min(room, gap))

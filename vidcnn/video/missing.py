"""The frames that a file which was cut off should still have.

Takes the times of the frames that are there, returns the same times with those of the missing frames after them, as
far as the file's headers show: so that what is lost is planned, and reported, clip by clip.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from vidcnn.sampling.grid import FrameTimes, IntArray
from vidcnn.video.container import OpenVideo
from vidcnn.video.files import read_at
from vidcnn.video.structure import declared_size

_MAX_LOST_FRAMES = 4_000_000
"""A day, at 46 frames per second."""


def entries_cut_off(video: OpenVideo) -> list[Any]:
    """Return the entries at the end of an MP4's index that are past the end of the file."""
    lost: list[Any] = []
    if has_index(video):
        entries = video.stream.index_entries
        for index in range(len(entries) - 1, -1, -1):
            entry = entries[index]
            if entry.pos + entry.size <= video.size_bytes:
                break
            lost.append(entry)
    return lost


def has_index(video: OpenVideo) -> bool:
    """Return whether a file lists all its frames in its header, as MP4 and QuickTime do."""
    return bool(video.container.format.name.startswith("mov"))


def with_lost_entries(times: FrameTimes, video: OpenVideo, first_decoding: int, num_lost: int) -> FrameTimes:
    """Add the frames that an MP4's index lists past the end of the file.

    The index has decoding times. Put in order, presentation times are the same but for a constant: exactly so at a
    constant rate, and nearly so at a variable one.

    Args:
        times: The frames that are there, in the stream's time base.
        video: The opened MP4.
        first_decoding: When the first frame is decoded.
        num_lost: How many entries are cut off.
    """
    delay = int(times.pts[0]) - first_decoding
    entries = video.stream.index_entries
    listed = np.array([entry.timestamp for entry in entries if not entry.is_discard], np.int64) + delay
    return _with_missing(times, np.setdiff1d(listed[listed > times.pts[0]], times.pts)[-num_lost:])


def with_lost_duration(times: FrameTimes, video: OpenVideo, location: str) -> FrameTimes:
    """Add the frames that a file should have by the size, and the count or the duration, that its header declares."""
    declared = declared_size(read_at(location, video.file.root), video.size_bytes)
    if declared is None or declared <= video.size_bytes or times.num_frames < 2:
        return times
    gap = max(1, int(np.median(np.diff(times.pts))))
    # libav shortens the duration of an AVI by what is missing of it, but not the count of its frames.
    num_lost = int(video.stream.frames) - times.num_frames
    if not video.stream.frames:
        end = int(Fraction(video.container.duration or 0, 1_000_000) / times.time_base)  # on the same clock as times
        num_lost = (end - times.end) // gap
    # A wrong header must not fill the memory: the lost part cannot be much denser than the rest.
    most = min(20 * times.num_frames * (declared - video.size_bytes) // video.size_bytes + 100, _MAX_LOST_FRAMES)
    return _with_missing(times, times.end + gap * np.arange(max(0, min(num_lost, most)), dtype=np.int64))


def _with_missing(times: FrameTimes, missing: IntArray) -> FrameTimes:
    if len(missing) == 0:
        return times
    pts = np.union1d(times.pts, missing)
    end = max(int(pts[-1]) + max(1, int(np.median(np.diff(pts)))), times.end)
    keyframes = np.searchsorted(pts, times.pts[times.keyframes])
    num_available = int(np.searchsorted(pts, missing[0]))
    return FrameTimes(pts, end, times.time_base, keyframes, num_available)

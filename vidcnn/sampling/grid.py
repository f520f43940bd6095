"""The positions on which clips are placed: a video's frames, or the ticks of a regular grid.

From the presentation times of a video's frames (`FrameTimes`) and a `Sampling` to a `Grid`: the frame that is on screen
at each position, and the time of that position, in exact arithmetic. No I/O and no pixels. Intervals are half-open,
``[start, end)``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from vidcnn.bounds import MAX_FRAMES, MAX_STRIDE
from vidcnn.errors import VideoError

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
Interval = tuple[float | None, float | None]
"""A part of a video in seconds of presentation time; None is its beginning or end."""

_ROUNDING = Fraction(1, 1000)
"""Containers that count milliseconds round a frame's time by up to half of one."""


@dataclass(frozen=True)
class Sampling:
    """How the frames of one clip are taken: what a model was trained on, and part of its bundle.

    Args:
        num_frames: Frames in a clip, T.
        stride: Step between a clip's frames, in frames of the video; exclusive with `fps`.
        fps: Frames taken per second of presentation time; exclusive with `stride`.

    Raises:
        ValueError: A value is out of range, or not exactly one of `stride` and `fps` is given.
    """

    num_frames: int = 16
    stride: int | None = None
    fps: float | None = None

    def __post_init__(self) -> None:
        if self.num_frames < 1:
            raise ValueError(f"num_frames ({self.num_frames}) must be > 0")
        if self.num_frames > MAX_FRAMES:
            raise ValueError(f"num_frames ({self.num_frames}) must be <= {MAX_FRAMES}")
        if (self.stride is None) == (self.fps is None):
            raise ValueError(f"give one of stride ({self.stride}) and fps ({self.fps})")
        if self.stride is not None and self.stride < 1:
            raise ValueError(f"stride ({self.stride}) must be > 0")
        if self.stride is not None and self.stride > MAX_STRIDE:
            raise ValueError(f"stride ({self.stride}) must be <= {MAX_STRIDE}")
        if self.fps is not None and not 0.001 <= self.fps <= 1000:
            raise ValueError(f"fps ({self.fps}) must be in [0.001, 1000]")


@dataclass(frozen=True, eq=False)
class FrameTimes:
    """The frames of a video in presentation order.

    Args:
        pts: int64 (num_frames,), strictly increasing presentation times in units of `time_base`.
        end: When the last frame leaves the screen, in units of `time_base`; after the last of `pts`.
        time_base: Seconds per unit.
        keyframes: int64, increasing indexes into `pts` of the frames where decoding can start; the first frame counts
            whether it is in the list or not.
        num_available: How many frames the file really contains; the rest is known to be cut off. None: all.
        size_bytes: Size of the file; None where the frames are not in one.
    """

    pts: IntArray
    end: int
    time_base: Fraction
    keyframes: IntArray = field(default_factory=lambda: np.zeros(1, np.int64))
    num_available: int | None = None
    size_bytes: int | None = None

    def __post_init__(self) -> None:
        assert len(self.pts) > 0
        assert self.end > self.pts[-1]

    @property
    def num_frames(self) -> int:
        """Frames in the video, those cut off included."""
        return len(self.pts)


class Grid:
    """The positions of one video.

    Args:
        times: Its frames.
        sampling: Whether positions are frames or ticks of `fps`.

    Attributes:
        times: The frames.
        keyframes: int64, increasing indexes of the frames where decoding can start, the first frame included.
        stride: Positions between a clip's frames.
        num_positions: How many positions there are, at least one.
    """

    def __init__(self, times: FrameTimes, sampling: Sampling) -> None:
        self.times = times
        self.keyframes = _with_first(times.keyframes)
        self._ticks_per_position: Fraction | None = None
        if sampling.stride is not None:
            self.stride = sampling.stride
            self.num_positions = times.num_frames
        else:
            assert sampling.fps is not None
            fps = Fraction(sampling.fps).limit_denominator(100_000)
            self.stride = 1
            self._ticks_per_position = 1 / (fps * times.time_base)
            duration = times.end - int(times.pts[0])
            self.num_positions = max(1, _ceil(duration / self._ticks_per_position))

    def bounds(self, interval: Interval) -> range:
        """Return the positions in an interval, at least one.

        Raises:
            VideoError: The interval begins after the end of the video.
        """
        time_base = self.times.time_base
        first, last = 0, self.num_positions
        start, end = (None if seconds is None else _exact(seconds) / time_base for seconds in interval)
        if start is not None:
            if start >= self.times.end:
                seconds = float(self.times.end * time_base)
                message = f"the interval begins at {interval[0]:g} s, and the video ends at {seconds:g} s"
                raise VideoError("too_short", message)
            first = min(self._num_before(start), last - 1)
        if end is not None:
            last = min(max(self._num_before(end), first + 1), last)
        return range(first, last)

    def _num_before(self, ticks: Fraction) -> int:
        """Return how many positions are before a time."""
        if self._ticks_per_position is None:
            return int(np.searchsorted(self.times.pts, _ceil(ticks)))
        return max(0, _ceil((ticks - int(self.times.pts[0])) / self._ticks_per_position))

    def frames_at(self, positions: IntArray) -> IntArray:
        """Return the index of the frame that is on screen at each position."""
        if self._ticks_per_position is None:
            return positions
        # A frame whose rounded time is up to half a tick (at most half a millisecond) late still counts as shown:
        # at 30 fps in Matroska, frame 2 is at 67 ms, and the tick of 15 fps it belongs to at 66.67 ms.
        tolerance = min(Fraction(1, 2), _ROUNDING / 2 / self.times.time_base)
        wanted = int(self.times.pts[0]) + _floor_products(positions, self._ticks_per_position, tolerance)
        return (np.searchsorted(self.times.pts, wanted, side="right") - 1).astype(np.int64)

    def seconds_at(self, positions: IntArray) -> FloatArray:
        """Return the presentation time of each position; `num_positions` means the end of the video."""
        times = self.times
        time_base = float(times.time_base)
        if self._ticks_per_position is None:
            ticks = np.append(times.pts, times.end)[positions].astype(np.float64)
        else:
            ticks = np.minimum(int(times.pts[0]) + positions * float(self._ticks_per_position), times.end)
        seconds: FloatArray = ticks * time_base
        return seconds


def _exact(seconds: float) -> Fraction:
    """Return the time that a decimal number means: 0.1 is a tenth, although no float is."""
    return Fraction(seconds).limit_denominator(1_000_000)


def _with_first(keyframes: IntArray) -> IntArray:
    if len(keyframes) and keyframes[0] == 0:
        return keyframes
    return np.concatenate([np.zeros(1, np.int64), keyframes])


def _floor_products(factors: IntArray, ratio: Fraction, addend: Fraction) -> IntArray:
    """Return ``floor(factors * ratio + addend)`` without rounding errors."""
    denominator = ratio.denominator * addend.denominator
    numerator = ratio.numerator * addend.denominator
    constant = addend.numerator * ratio.denominator
    largest = int(factors.max(initial=0)) * numerator + constant
    if largest < 2**62:
        return (factors * numerator + constant) // denominator
    return ((factors.astype(object) * numerator + constant) // denominator).astype(np.int64)


def _ceil(value: Fraction) -> int:
    return -int(-value // 1)

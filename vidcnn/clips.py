"""What to decode: pure arithmetic from presentation times to clips and segments.

In go the presentation times of a video's frames (`FrameTimes`) and a `ClipSpec`; out come `Segment`s, bounded units of
work that name the exact frames of a run of consecutive clips. No I/O and no pixels.

Words: a *clip* is T frames; its *stride* is the distance between them; *step* is the distance between the starts of
consecutive clips. Both are counted on the video's *positions*: its frames, or the ticks of a regular grid of `fps`
per second, where each tick shows the frame that is on screen at that time. Intervals are half-open, ``[start, end)``.

With ``num_frames=3, stride=2`` and the default step of ``3 * 2`` on ten frames (``x`` taken, ``.`` passed over)::

    position  0 1 2 3 4 5 6 7 8 9
    clip 0    x . x . x .                 covers [0, 6)
    clip 1                x . x .         the tail: its third frame, 10, does not exist, so 8 is repeated
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from typing import Literal

import numpy as np
import numpy.typing as npt

from vidcnn.errors import VideoError

ShortClips = Literal["repeat_last", "loop", "drop"]
IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

MAX_SEGMENT_FRAMES = 1024
"""Frames decoded for one segment, where keyframes allow the cut: some 40 seconds of video."""
MAX_SEGMENT_CLIPS = 256
"""Clips in one segment: bounds what is done again after a loss when clips overlap densely."""

MAX_CLIP_FRAMES = 16_000_000
"""Frames in all clips of one video: twelve days at 15 per second. What claims more has corrupt times."""

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
        if (self.stride is None) == (self.fps is None):
            raise ValueError(f"give one of stride ({self.stride}) and fps ({self.fps})")
        if self.stride is not None and self.stride < 1:
            raise ValueError(f"stride ({self.stride}) must be > 0")
        if self.fps is not None and not 0.001 <= self.fps <= 1000:
            raise ValueError(f"fps ({self.fps}) must be in [0.001, 1000]")


@dataclass(frozen=True)
class ClipSpec:
    """How clips are laid over a video.

    Args:
        sampling: How the frames of one clip are taken.
        step: Positions between the starts of consecutive clips; None puts them back to back. Not with `num_clips`.
        num_clips: This many clips, spread uniformly over the video (fewer where there are fewer distinct starts).
        short_clips: What becomes of a clip that reaches past the end of its video. ``repeat_last`` holds the last
            frame, ``loop`` starts over with the clip's own first frame, ``drop`` leaves the tail of a video out and
            makes a video that is shorter than one clip an error.

    Raises:
        ValueError: A value is out of range, or both `step` and `num_clips` are given.
    """

    sampling: Sampling
    step: int | None = None
    num_clips: int | None = None
    short_clips: ShortClips = "repeat_last"

    def __post_init__(self) -> None:
        if self.step is not None and self.num_clips is not None:
            raise ValueError(f"give one of step ({self.step}) and num_clips ({self.num_clips})")
        for name in ("step", "num_clips"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} ({value}) must be > 0")


@dataclass(frozen=True, eq=False)
class FrameTimes:
    """The frames of a video in presentation order.

    Args:
        pts: int64 (num_frames,), strictly increasing presentation times in units of `time_base`.
        end: When the last frame leaves the screen, in units of `time_base`; after the last of `pts`.
        time_base: Seconds per unit.
        keyframes: int64, increasing indexes into `pts` of the frames where decoding can start; the first frame counts
            whether it is in the list or not.
        num_available: How many frames the file really holds; the rest is known to be cut off. None: all.
    """

    pts: IntArray
    end: int
    time_base: Fraction
    keyframes: IntArray = field(default_factory=lambda: np.zeros(1, np.int64))
    num_available: int | None = None

    def __post_init__(self) -> None:
        assert len(self.pts) > 0
        assert self.end > self.pts[-1]

    @property
    def num_frames(self) -> int:
        """Frames in the video, those cut off included."""
        return len(self.pts)


@dataclass(frozen=True, eq=False)
class Segment:
    """A run of consecutive clips of one video: a unit of work, lost or done as a whole.

    Attributes:
        index: Number of the segment in its video.
        count: Segments in the video.
        first_clip: Index in the video of the segment's first clip.
        frames: int64 (num_clips, T): frames of each clip, as indexes in presentation order.
        pts: int64 (num_clips, T): presentation times of `frames`, in the stream's time base.
        start_seconds: float64 (num_clips,): presentation time where each clip starts.
        end_seconds: float64 (num_clips,): presentation time up to which each clip reaches.
        truncated: bool (num_clips,): True where the clip needs frames that the file no longer holds.
        keyframe_pts: int64: the increasing times at which decoding can start, from the one at or before the segment's
            first frame to the last one in it.
        starts_at_beginning: Whether the first of `keyframe_pts` is the beginning of the video.
    """

    index: int
    count: int
    first_clip: int
    frames: IntArray
    pts: IntArray
    start_seconds: FloatArray
    end_seconds: FloatArray
    truncated: BoolArray
    keyframe_pts: IntArray
    starts_at_beginning: bool

    @property
    def num_clips(self) -> int:
        """Clips in the segment."""
        return len(self.frames)


def plan_segments(
    times: FrameTimes,
    spec: ClipSpec,
    *,
    max_frames: int = MAX_SEGMENT_FRAMES,
    max_clips: int = MAX_SEGMENT_CLIPS,
) -> list[Segment]:
    """Plan all clips of a video and group them into segments.

    Args:
        times: The video's frames.
        spec: How clips are laid over the video.
        max_frames: A segment is cut when decoding it takes this many frames and a keyframe allows it.
        max_clips: A segment has at most this many clips where a keyframe allows the cut.

    Returns:
        At least one segment, each with at least one clip; the clips are numbered from 0 without a gap.

    Raises:
        VideoError: `too_short`, when short clips are dropped and the video is shorter than one clip; `too_large`, when
            its clips would have more than `MAX_CLIP_FRAMES` frames.
    """
    grid = _Grid(times, spec.sampling)
    positions, starts = _clip_positions(grid.num_positions, grid.stride, spec)
    frames = grid.frames_at(positions)
    covered = spec.sampling.num_frames * grid.stride
    start_seconds = grid.seconds_at(starts)
    end_seconds = grid.seconds_at(np.minimum(starts + covered, grid.num_positions))
    num_available = times.num_frames if times.num_available is None else times.num_available
    truncated = frames.max(axis=1) >= num_available

    keyframes = _with_first(times.keyframes)
    first, last = frames.min(axis=1), frames.max(axis=1)
    cuts = [*_cut_segments(first, last, keyframes, max_frames, max_clips), len(frames)]
    segments = []
    for index, (a, b) in enumerate(pairwise(cuts)):
        lowest = np.searchsorted(keyframes, first[a], side="right") - 1
        highest = np.searchsorted(keyframes, last[a:b].max(), side="right")
        segments.append(
            Segment(
                index=index,
                count=len(cuts) - 1,
                first_clip=a,
                frames=frames[a:b],
                pts=times.pts[frames[a:b]],
                start_seconds=start_seconds[a:b],
                end_seconds=end_seconds[a:b],
                truncated=truncated[a:b],
                keyframe_pts=times.pts[keyframes[lowest:highest]],
                starts_at_beginning=bool(lowest == 0),
            )
        )
    return segments


class _Grid:
    """The positions on which clips are laid: a video's frames, or the ticks of `fps`."""

    def __init__(self, times: FrameTimes, sampling: Sampling) -> None:
        self._times = times
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

    def frames_at(self, positions: IntArray) -> IntArray:
        """Return the index of the frame that is on screen at each position."""
        if self._ticks_per_position is None:
            return positions
        # A frame whose rounded time lies up to half a tick (at most half a millisecond) late still counts as shown:
        # at 30 fps in Matroska, frame 2 stands at 67 ms, and the tick of 15 fps it belongs to at 66.67 ms.
        tolerance = min(Fraction(1, 2), _ROUNDING / 2 / self._times.time_base)
        wanted = int(self._times.pts[0]) + _floor_products(positions, self._ticks_per_position, tolerance)
        return (np.searchsorted(self._times.pts, wanted, side="right") - 1).astype(np.int64)

    def seconds_at(self, positions: IntArray) -> FloatArray:
        """Return the presentation time of each position; `num_positions` stands for the end of the video."""
        times = self._times
        time_base = float(times.time_base)
        if self._ticks_per_position is None:
            ticks = np.append(times.pts, times.end)[positions].astype(np.float64)
        else:
            ticks = np.minimum(int(times.pts[0]) + positions * float(self._ticks_per_position), times.end)
        seconds: FloatArray = ticks * time_base
        return seconds


def _clip_positions(num_positions: int, stride: int, spec: ClipSpec) -> tuple[IntArray, IntArray]:
    """Lay clips over positions.

    Returns:
        int64 (num_clips, T) positions, each below `num_positions`; int64 (num_clips,) positions where clips start.
    """
    num_frames = spec.sampling.num_frames
    span = (num_frames - 1) * stride + 1
    if num_positions < span and spec.short_clips == "drop":
        raise VideoError(
            "too_short",
            f"a clip spans {span} frames (num_frames={num_frames}, stride={stride}) but the video has {num_positions}: "
            "lower them, or set short_clips=repeat_last",
        )
    starts = _clip_starts(num_positions, stride, span, spec)
    offsets = np.arange(num_frames, dtype=np.int64) * stride
    positions = starts[:, None] + offsets  # (num_clips, T)
    overrun = positions >= num_positions
    if not overrun.any():
        return positions, starts
    if spec.short_clips == "loop":
        num_real = (num_positions - 1 - starts) // stride + 1
        turned = starts[:, None] + (np.arange(num_frames) % num_real[:, None]) * stride
        return np.where(overrun, turned, positions), starts
    last_real = starts + (num_positions - 1 - starts) // stride * stride
    return np.where(overrun, last_real[:, None], positions), starts


def _clip_starts(num_positions: int, stride: int, span: int, spec: ClipSpec) -> IntArray:
    last_whole = num_positions - span
    if spec.num_clips is not None:
        if last_whole <= 0:
            return np.zeros(1, np.int64)
        count = min(spec.num_clips, last_whole + 1)
        if count == 1:
            return np.array([last_whole // 2], np.int64)
        _check_count(count, spec.sampling.num_frames)
        return np.arange(count, dtype=np.int64) * last_whole // (count - 1)
    covered = spec.sampling.num_frames * stride
    step = spec.step if spec.step is not None else covered
    num_whole = last_whole // step + 1 if last_whole >= 0 else 0
    count = num_whole
    if spec.short_clips != "drop":
        # One more clip takes the tail, if there is a start left for it and positions that no earlier clip covers.
        start = num_whole * step
        reached = (num_whole - 1) * step + covered if num_whole else 0
        if start < num_positions and reached < num_positions:
            count += 1
    _check_count(count, spec.sampling.num_frames)
    return np.arange(count, dtype=np.int64) * step


def _check_count(num_clips: int, num_frames: int) -> None:
    """Refuse a plan that is out of all proportion before memory is taken for it."""
    if num_clips * num_frames > MAX_CLIP_FRAMES:
        raise VideoError(
            "too_large",
            f"it would make {num_clips} clips of {num_frames} frames, above the limit of {MAX_CLIP_FRAMES} frames: its "
            "times are probably corrupt; if they are right, take a larger step",
        )


def _cut_segments(
    first: IntArray, last: IntArray, keyframes: IntArray, max_frames: int, max_clips: int
) -> Iterator[int]:
    """Choose the clips at which segments start.

    A cut costs the frames between the new segment's keyframe and its first clip, which are decoded for nothing. So from
    half of the bound on, the first clip that starts within a few frames of a keyframe is taken, and at the bound any
    clip for which the cost is small against the segment. Where keyframes are too far apart, the segment grows.
    """
    yield 0
    begin, cost = 0, 0
    position = -1  # the last frame decoded for the segment so far
    keyframe_before = keyframes[np.searchsorted(keyframes, first, side="right") - 1]
    for clip in range(len(first)):
        keyframe = int(keyframe_before[clip])
        if clip > begin:
            full = cost >= max_frames or clip - begin >= max_clips
            nearly = cost >= max_frames // 2 or clip - begin >= max_clips // 2
            # What the cut decodes anew: from the keyframe to where the segment has already been.
            again = min(int(first[clip]), position + 1) - keyframe if keyframe <= position else 0
            again += max(0, position + 1 - int(first[clip]))
            if (full and again <= max_frames // 4) or (nearly and again <= max_frames // 64):
                yield clip
                begin, cost, position = clip, 0, -1
        start = max(position + 1, keyframe)
        cost += max(0, int(last[clip]) + 1 - start)
        position = max(position, int(last[clip]))


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

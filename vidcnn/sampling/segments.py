"""What to decode: pure arithmetic from presentation times to clips and segments.

Takes the presentation times of a video's frames (`FrameTimes`) and a `ClipSpec`; returns `Segment`s, bounded units of
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

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from vidcnn.choices import ShortClips
from vidcnn.errors import VideoError
from vidcnn.sampling.grid import FloatArray, FrameTimes, Grid, IntArray, Interval, Sampling

__all__ = ["ClipSpec", "FrameTimes", "Sampling", "Segment", "plan_clips_at", "plan_segments"]

BoolArray = npt.NDArray[np.bool_]

MAX_SEGMENT_FRAMES = 1024
"""Frames decoded for one segment, where keyframes allow the cut: some 40 seconds of video."""
MAX_SEGMENT_CLIPS = 256
"""Clips in one segment: bounds what is done again after a loss when clips overlap densely."""

MAX_TASK_BYTES = 256 * 2**20
"""Pixels that travel together: a decoder holds them in memory, and several wait in the object store."""

MAX_CLIP_FRAMES = 16_000_000
"""Frames in all clips of one video: twelve days at 15 per second. What claims more has corrupt times."""

_FREE_SECONDS = 3600
_SECONDS_PER_BYTE = 0.06
"""How long a file may be shown: an hour, and a minute for each kilobyte. Recordings are many times as large; what
claims more has corrupt times, is made to be classified for days, or has a few pictures that are hours apart."""


@dataclass(frozen=True)
class ClipSpec:
    """How clips are placed on a video.

    Args:
        sampling: How the frames of one clip are taken.
        step: Positions between the starts of consecutive clips; None puts them back to back. Not with `num_clips`.
        num_clips: This many clips, spread uniformly over the video (fewer where there are fewer distinct starts).
        short_clips: What becomes of a clip that reaches past the end of its video. ``repeat_last`` repeats the last
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
        truncated: bool (num_clips,): True where the clip needs frames that the file no longer contains.
        keyframe_pts: int64: the increasing times at which decoding can start, from the one at or before the segment's
            first frame to the last one in it.
        starts_at_beginning: Whether the first of `keyframe_pts` is the beginning of the video.
        is_short: Whether the video, or the part of it that is covered, is shorter than one clip.
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
    is_short: bool = False

    @property
    def num_clips(self) -> int:
        """Clips in the segment."""
        return len(self.frames)


def plan_segments(
    times: FrameTimes,
    spec: ClipSpec,
    *,
    interval: Interval = (None, None),
    max_frames: int = MAX_SEGMENT_FRAMES,
    max_clips: int = MAX_SEGMENT_CLIPS,
) -> list[Segment]:
    """Plan all clips of a video and group them into segments.

    Args:
        times: The video's frames.
        spec: How clips are placed on the video.
        interval: Part of the video that is covered.
        max_frames: A segment is cut when decoding it takes this many frames and a keyframe allows it.
        max_clips: A segment has at most this many clips where a keyframe allows the cut.

    Returns:
        At least one segment, each with at least one clip; the clips are numbered from 0 without a gap.

    Raises:
        VideoError: `too_short`, when short clips are dropped and the video is shorter than one clip; `too_large`, when
            its clips would have more than `MAX_CLIP_FRAMES` frames, or be of a time that its file is too small for.
    """
    grid = Grid(times, spec.sampling)
    bounds = grid.bounds(interval)
    if spec.sampling.fps is not None and spec.num_clips is None:
        _check_time(len(bounds) / spec.sampling.fps, times)
    starts = bounds.start + _clip_starts(len(bounds), grid.stride, spec)
    plan = _LaidClips(grid, starts, bounds, spec)
    cuts = [*_cut_segments(plan.first, plan.last, grid.keyframes, max_frames, max_clips), len(starts)]
    return [plan.segment(index, len(cuts) - 1, slice(a, b)) for index, (a, b) in enumerate(pairwise(cuts))]


def plan_clips_at(
    times: FrameTimes,
    sampling: Sampling,
    places: Sequence[float],
    *,
    interval: Interval = (None, None),
    short_clips: ShortClips = "repeat_last",
) -> Segment:
    """Plan single clips for training, anywhere in a video.

    Args:
        times: The video's frames.
        sampling: How the frames of a clip are taken.
        places: For each clip its place, in [0, 1): 0 is the first of the starts from which a whole clip can be
            taken, and just below 1 is the last.
        interval: Part of the video that clips may come from, as in `plan_segments`.
        short_clips: As in `ClipSpec`.

    Raises:
        VideoError: As in `plan_segments`.
    """
    grid = Grid(times, sampling)
    bounds = grid.bounds(interval)
    spec = ClipSpec(sampling, short_clips=short_clips)
    num_starts = max(0, len(bounds) - _check_span(len(bounds), grid.stride, spec)) + 1
    starts = bounds.start + np.array([int(place * num_starts) for place in places], np.int64)
    return _LaidClips(grid, starts, bounds, spec).segment(0, 1, slice(None))


class _LaidClips:
    """Clips at given starts, with the frames that they take."""

    def __init__(self, grid: Grid, starts: IntArray, bounds: range, spec: ClipSpec) -> None:
        self._grid = grid
        self._frames = grid.frames_at(_positions(starts, bounds.stop, grid.stride, spec))
        self.first, self.last = self._frames.min(axis=1), self._frames.max(axis=1)
        self._start_seconds = grid.seconds_at(starts)
        ends = np.minimum(starts + spec.sampling.num_frames * grid.stride, bounds.stop)
        self._end_seconds = grid.seconds_at(ends)
        self._is_short = len(bounds) < _span(spec.sampling.num_frames, grid.stride)

    def segment(self, index: int, count: int, clips: slice) -> Segment:
        """Make a segment of some of the clips."""
        times, keyframes = self._grid.times, self._grid.keyframes
        frames = self._frames[clips]
        lowest = np.searchsorted(keyframes, self.first[clips].min(), side="right") - 1
        highest = np.searchsorted(keyframes, self.last[clips].max(), side="right")
        num_available = times.num_frames if times.num_available is None else times.num_available
        return Segment(
            index=index,
            count=count,
            first_clip=clips.start or 0,
            frames=frames,
            pts=times.pts[frames],
            start_seconds=self._start_seconds[clips],
            end_seconds=self._end_seconds[clips],
            truncated=self.last[clips] >= num_available,
            keyframe_pts=times.pts[keyframes[lowest:highest]],
            starts_at_beginning=bool(lowest == 0),
            is_short=self._is_short,
        )


def _span(num_frames: int, stride: int) -> int:
    """Return how many positions a clip spans, from its first frame to its last."""
    return (num_frames - 1) * stride + 1


def _check_span(num_positions: int, stride: int, spec: ClipSpec) -> int:
    """Return how many positions a clip spans, and refuse a video that is shorter where short clips are dropped."""
    num_frames = spec.sampling.num_frames
    span = _span(num_frames, stride)
    if num_positions < span and spec.short_clips == "drop":
        raise VideoError(
            "too_short",
            f"a clip spans {span} frames (num_frames={num_frames}, stride={stride}) but the video has {num_positions}: "
            "lower them, or set short_clips=repeat_last",
        )
    return span


def _positions(starts: IntArray, end: int, stride: int, spec: ClipSpec) -> IntArray:
    """Return the positions of each clip's frames, int64 (num_clips, T), each below `end`."""
    offsets = np.arange(spec.sampling.num_frames, dtype=np.int64) * stride
    positions: IntArray = starts[:, None] + offsets  # (num_clips, T)
    overrun = positions >= end
    if not overrun.any():
        return positions
    if spec.short_clips == "loop":
        num_real = (end - 1 - starts) // stride + 1
        turned = starts[:, None] + (np.arange(spec.sampling.num_frames) % num_real[:, None]) * stride
        return np.where(overrun, turned, positions)
    last_real = starts + (end - 1 - starts) // stride * stride
    return np.where(overrun, last_real[:, None], positions)


def _clip_starts(num_positions: int, stride: int, spec: ClipSpec) -> IntArray:
    """Place clips on `num_positions` positions."""
    last_whole = num_positions - _check_span(num_positions, stride, spec)
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


def _check_time(seconds: float, times: FrameTimes) -> None:
    """Refuse to fill a time with clips in which a small file has next to no frames."""
    if times.size_bytes is None:
        return
    if times.num_available is not None and times.num_available < times.num_frames:
        seconds -= float(
            (times.end - int(times.pts[times.num_available])) * times.time_base
        )  # is reported, not decoded
    if seconds > _FREE_SECONDS + _SECONDS_PER_BYTE * times.size_bytes:
        raise VideoError(
            "too_large",
            f"its {times.num_frames} frames, in {times.size_bytes} bytes, would be shown for {seconds:.0f} s: its "
            "frames are far apart, or its times are corrupt; if they are right, place clips by --stride or --num-clips",
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
    if len(first) <= max_clips // 2 and last.max() + 1 < keyframe_before.min() + max_frames // 2:
        return  # too little to be cut, as most videos of a large source are
    for clip in range(len(first)):
        keyframe = int(keyframe_before[clip])
        if clip > begin:
            full = cost >= max_frames or clip - begin >= max_clips
            nearly = cost >= max_frames // 2 or clip - begin >= max_clips // 2
            # What the cut decodes again: from the keyframe to where the segment has already been.
            again = min(int(first[clip]), position + 1) - keyframe if keyframe <= position else 0
            again += max(0, position + 1 - int(first[clip]))
            if (full and again <= max_frames // 4) or (nearly and again <= max_frames // 64):
                yield clip
                begin, cost, position = clip, 0, -1
        start = max(position + 1, keyframe)
        cost += max(0, int(last[clip]) + 1 - start)
        position = max(position, int(last[clip]))

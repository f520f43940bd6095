"""From a listed video to the segments that have to be decoded.

Takes a `SourceVideo`, returns `PlannedSegment`s: plain data that can travel to any machine, with all that decoding
needs to know. A plan depends on the file and the `ClipSpec` alone, so that a video planned again, after an
interruption or on another machine, has the same clips and the same segments.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from vidcnn.choices import Sandbox
from vidcnn.errors import InternalError, StorageError, VideoError
from vidcnn.sampling.preprocessing import Preprocessing
from vidcnn.sampling.segments import MAX_SEGMENT_FRAMES, ClipSpec, FrameTimes, Segment, plan_segments
from vidcnn.sources import SourceVideo
from vidcnn.sources.keys import SegmentKey, VideoKey, video_text
from vidcnn.video.cell_status import at
from vidcnn.video.cell_values import register
from vidcnn.video.container import plain_errors
from vidcnn.video.decode import DecodeRequest
from vidcnn.video.file_client import NUM_AHEAD, expect
from vidcnn.video.frame_folders import decode_image, folder_frames, folder_times
from vidcnn.video.probe import FrameMatching, VideoInfo, probe_video

DEFAULT_TIMEOUT_SECONDS = 60.0
_SLOWEST_BYTES_PER_SECOND = 500_000
_SLOWEST_FRAMES_PER_SECOND = 2
"""The largest frames of the slowest codecs, on a slow machine."""
_SLOWEST_PASSED_PER_SECOND = 20
"""Frames that are decoded and not resized: large ones, on a slow and busy machine."""
_PLANS_AT_ONCE = 256
_PLANS_SECONDS = 0.5


@dataclass(frozen=True, eq=False)
class PlannedSegment:
    """A segment together with the video that it belongs to.

    Attributes:
        video: The version of the video, as it was listed.
        location: Absolute path or URI.
        is_frame_folder: Whether the location is a folder of numbered images.
        timing: How decoded frames are matched to the plan.
        segment: The clips.
        root: Folder that the file's symbolic links must not lead out of; None lets them lead anywhere.
    """

    video: VideoKey
    location: str
    is_frame_folder: bool
    timing: FrameMatching
    segment: Segment
    root: str | None = None

    @classmethod
    def of(cls, video: SourceVideo, timing: FrameMatching, segment: Segment) -> PlannedSegment:
        """Put a segment together with its video."""
        return cls(video_key(video), video.location, video.is_frame_folder, timing, segment, video.root)

    @property
    def key(self) -> SegmentKey:
        """What the segment is committed under."""
        return SegmentKey(self.video, self.segment.index, self.segment.count)

    @property
    def num_frames(self) -> int:
        """About how many frames are decoded for it."""
        frames = self.segment.frames
        return min(int(frames.max() - frames.min()) + 1, frames.size * 8)

    @property
    def num_passed_over(self) -> int:
        """About how many more are decoded to get to these, from the keyframes before them or from the beginning."""
        frames, pts, keyframes = self.segment.frames, self.segment.pts, self.segment.keyframe_pts
        first, span = int(frames.min()), int(frames.max() - frames.min())
        if self.is_frame_folder:
            return 0
        if self.timing == "order" or not len(keyframes):
            return max(0, first + span + 1 - self.num_frames)
        if not span:
            return min(first, MAX_SEGMENT_FRAMES)
        needed = np.unique(pts)
        groups = np.searchsorted(keyframes, needed, side="right") - 1
        is_last = np.append(groups[1:] != groups[:-1], True)
        passed = (needed - keyframes[np.maximum(groups, 0)])[is_last].clip(min=0).sum() * span / (pts.max() - pts.min())
        return max(0, int(passed) + 1 - self.num_frames)

    def allowed_seconds(self, timeout_seconds: float) -> float:
        """Return how long decoding it may take.

        Args:
            timeout_seconds: How long reading may make no headway.
        """
        shown = self.num_frames / _SLOWEST_FRAMES_PER_SECOND
        return timeout_seconds + shown + self.num_passed_over / _SLOWEST_PASSED_PER_SECOND

    @property
    def version(self) -> tuple[int, int] | None:
        """Size in bytes and modification time in nanoseconds to compare a file with; None for a folder."""
        return None if self.is_frame_folder else (self.video.size_bytes, self.video.mtime_ns)

    def request(
        self, preprocessing: Preprocessing, *, max_pixels: int, exact: bool = False, uncropped: bool = False
    ) -> DecodeRequest:
        """Return what has to be decoded.

        Args:
            preprocessing: Resize and crop.
            max_pixels: Largest frame, width times height, that is decoded.
            exact: Resize with torchvision's own arithmetic.
            uncropped: Resize only, for crops that are chosen later.
        """
        return DecodeRequest(
            location=self.location,
            segment=self.segment,
            is_frame_folder=self.is_frame_folder,
            timing=self.timing,
            preprocessing=preprocessing,
            exact=exact,
            uncropped=uncropped,
            version=self.version,
            max_pixels=max_pixels,
            root=self.root,
        )


register(PlannedSegment, VideoKey, Segment)

Plan = tuple[PlannedSegment, ...] | VideoError | StorageError
"""All segments of a video; or why it has none, or cannot be planned now."""


@dataclass(frozen=True)
class PlanSettings:
    """What planning depends on, besides the file.

    Args:
        clips: How clips are placed on a video.
        image_fps: Images per second of a folder of numbered images.
        max_pixels: Largest frame, width times height, that is accepted.
        timeout_seconds: How long reading may make no headway, besides what a video's size allows.
        sandbox: How the process that reads is confined.
    """

    clips: ClipSpec
    image_fps: float
    max_pixels: int
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
    sandbox: Sandbox = "auto"

    def allowed_seconds(self, video: SourceVideo) -> float:
        """Return how long planning a video may take, with storage as slow as any."""
        return self.timeout_seconds + video.size_bytes / _SLOWEST_BYTES_PER_SECOND


def video_key(video: SourceVideo) -> VideoKey:
    """Return what a listed video is committed under."""
    return VideoKey(video.name, video.size_bytes, video.mtime_ns)


def plan_video(
    video: SourceVideo, settings: PlanSettings, interval: tuple[float | None, float | None] = (None, None)
) -> list[PlannedSegment]:
    """Probe a video and plan its clips.

    Args:
        video: As it was listed; an error of its listing is raised.
        settings: What the plan depends on.
        interval: The part ``[start, end)`` of the video that clips are in, in seconds; None leaves a side open.

    Returns:
        Every segment of the video, at least one.

    Raises:
        VideoError: The video cannot be read, or is shorter than a clip where short clips are dropped.
        StorageError: It cannot be read now, through no fault of its own.
    """
    with plain_errors():
        times, timing = read_times(video, image_fps=settings.image_fps, max_pixels=settings.max_pixels)
        segments = plan_segments(times, settings.clips, interval=interval)
    return [PlannedSegment.of(video, timing, segment) for segment in segments]


def read_times(video: SourceVideo, *, image_fps: float, max_pixels: int) -> tuple[FrameTimes, FrameMatching]:
    """Find out when a video's frames are shown.

    Raises:
        VideoError: The video cannot be read, or is not the one that was listed.
        StorageError: It cannot be read now, or could not be listed, through no fault of its own.
        FFmpegError: libav's own error; use `plain_errors`.
    """
    raise_listed_error(video)
    if video.is_frame_folder:
        frames = folder_frames(video.location)
        _check_images([frames[0], frames[len(frames) // 2], frames[-1]], max_pixels, video.root)
        return folder_times(len(frames), image_fps), "order"
    info = probe_listed(video, max_pixels=max_pixels)
    return info.times, info.timing


def raise_listed_error(video: SourceVideo) -> None:
    """Raise what was found wrong with a video when it was listed, if anything was.

    Raises:
        VideoError: The video cannot be read.
        StorageError: It could not be listed, through no fault of its own.
    """
    if video.error is not None and video.error_kind is None:
        raise StorageError(f"it {video.error}")
    if video.error is not None:
        raise VideoError(video.error_kind or "unreadable", video.error)


def probe_listed(video: SourceVideo, *, max_pixels: int) -> VideoInfo:
    """Read what a video's file contains, which must be the one that was listed; raises as `read_times` does."""
    info = probe_video(video.location, max_pixels=max_pixels, root=video.root)
    if (info.size_bytes, info.mtime_ns) != (video.size_bytes, video.mtime_ns):
        raise VideoError("changed", "the file changed since it was listed")
    return info


def _check_images(locations: Sequence[str], max_pixels: int, root: str | None) -> None:
    """Raise the error of the first of some images if none can be decoded: a bad one costs only clips that have it."""
    failures: list[VideoError] = []
    for location in locations:
        try:
            decode_image(location, max_pixels=max_pixels, root=root)
        except VideoError as error:
            if error.kind not in ("unreadable", "corrupt_frames"):
                raise
            failures.append(error)
        else:
            return
    raise failures[0]


def plan_each(videos: Sequence[SourceVideo], settings: PlanSettings, num_at_once: int) -> Iterator[list[Plan]]:
    """Plan videos in a process of their own, which `vidcnn.video.cell` can kill.

    Args:
        videos: The videos.
        settings: What the plans depend on.
        num_at_once: How many are read at the same time.

    Yields:
        The plans of some videos, in the order given.

    Raises:
        InternalError: Something went wrong that is no fault of a video.
    """

    def plan(video: SourceVideo) -> Plan:
        try:
            return tuple(plan_video(video, settings))
        except (VideoError, StorageError) as error:
            return error
        except Exception as error:
            raise InternalError.of(error, f"planning {video_text(video.name)}") from error

    def ahead() -> Iterator[SourceVideo]:
        for number, video in enumerate(videos):
            expect(one.location for one in videos[number : number + NUM_AHEAD] if not one.is_frame_folder)
            yield video

    plans: list[Plan] = []
    began = time.monotonic()
    with ThreadPoolExecutor(num_at_once) as pool:
        planned = pool.map(plan, videos) if num_at_once > 1 else map(plan, ahead())
        for number, plan_of_one in enumerate(planned):
            at(number + 1)
            plans.append(plan_of_one)
            if len(plans) == _PLANS_AT_ONCE or time.monotonic() - began > _PLANS_SECONDS:
                yield plans
                plans, began = [], time.monotonic()
    if plans:
        yield plans


def group_segments(
    segments: Iterable[PlannedSegment], *, max_frames: int = MAX_SEGMENT_FRAMES
) -> Iterator[list[PlannedSegment]]:
    """Put small segments together into units of work worth a task of their own.

    Args:
        segments: Any segments, such as those of many short videos.
        max_frames: A unit is full when it reaches this many frames.

    Yields:
        One or more segments, in the order given.
    """
    unit: list[PlannedSegment] = []
    num_frames = 0
    for planned in segments:
        cost = planned.num_frames
        if unit and num_frames + cost > max_frames:
            yield unit
            unit, num_frames = [], 0
        unit.append(planned)
        num_frames += cost
    if unit:
        yield unit

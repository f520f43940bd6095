"""Whether what a decoding process sent is what it was asked for.

Takes its plans and batches, whose types are right already (`vidcnn.video.cell_values`). A process that was taken over
may still send plans of other files, which would then be opened for it, or clips of another shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vidcnn.errors import StorageError, VideoError
from vidcnn.sampling.segments import Segment
from vidcnn.sources import SourceVideo
from vidcnn.video.batching import ClipBatch, DecodeSettings
from vidcnn.video.planning import PlannedSegment, video_key
from vidcnn.video.stopwatch import StageTimes


def are_plans(plans: Any, videos: Sequence[SourceVideo]) -> bool:
    """Return whether plans are those of the first of some videos.

    Args:
        plans: What came.
        videos: Videos whose plans are still to come.
    """
    return (
        type(plans) is list
        and 0 < len(plans) <= len(videos)
        and all(_is_plan(plan, video) for plan, video in zip(plans, videos, strict=False))
    )


def is_batch(value: Any, unit: Sequence[PlannedSegment], settings: DecodeSettings) -> bool:
    """Return whether clips are some of those that were to be decoded, as the settings want them.

    Args:
        value: What came.
        unit: The segments that were to be decoded.
        settings: How.
    """
    if (
        type(value) is not tuple
        or len(value) != 2
        or type(value[0]) is not ClipBatch
        or type(value[1]) is not StageTimes
    ):
        return False
    batch: ClipBatch = value[0]
    known = {planned.key: planned for planned in unit}
    if not all(type(planned.segment.index) is int and _key(planned) in known for planned in batch.segments):
        return False
    clips = [*batch.clips, *(ref for ref, _ in batch.failures)]
    if not all(
        0 <= ref.segment < len(batch.segments)
        and 0 <= ref.clip < known[batch.segments[ref.segment].key].segment.num_clips
        for ref in clips
    ):
        return False
    shape = batch.pixels.shape
    if not batch.clips:
        return len(shape) == 5 and shape[0] == 0
    length = known[batch.segments[batch.clips[0].segment].key].segment.frames.shape[1]
    size = settings.preprocessing.crop
    return len(batch.clips) <= settings.batch_size and shape == (len(batch.clips), length, *size, 3)


def _is_plan(plan: Any, video: SourceVideo) -> bool:
    if isinstance(plan, VideoError | StorageError):
        return True
    return (
        type(plan) is tuple
        and len(plan) > 0
        and all(
            type(planned) is PlannedSegment
            and planned.video == video_key(video)
            and planned.location == video.location
            and planned.is_frame_folder == video.is_frame_folder
            and planned.root == video.root
            and (planned.segment.index, planned.segment.count) == (index, len(plan))
            and _is_whole(planned.segment)
            for index, planned in enumerate(plan)
        )
    )


def _key(planned: PlannedSegment) -> Any:
    return planned.key if 0 <= planned.segment.index < planned.segment.count else None


def _is_whole(segment: Segment) -> bool:
    """Return whether a segment's arrays have the sizes that they must have."""
    num_clips = len(segment.start_seconds)
    return (
        segment.frames.ndim == 2
        and segment.frames.size > 0
        and segment.frames.shape == segment.pts.shape
        and len(segment.frames) == num_clips
        and segment.start_seconds.shape == segment.end_seconds.shape == segment.truncated.shape == (num_clips,)
        and segment.keyframe_pts.ndim == 1
    )

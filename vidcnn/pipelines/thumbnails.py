"""Pictures of moments of videos: a small JPEG for each, of the frame on screen then, decoded in a confined process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from vidcnn.choices import Sandbox
from vidcnn.errors import StorageError, VideoError
from vidcnn.sampling.preprocessing import Preprocessing
from vidcnn.sampling.segments import ClipSpec, Sampling, Segment
from vidcnn.sources import Listing, SourceVideo
from vidcnn.sources.keys import video_text
from vidcnn.video.attempts import decode_in_cell, plan_in_cell
from vidcnn.video.batching import DecodeSettings
from vidcnn.video.cell import Cell
from vidcnn.video.planning import PlannedSegment, PlanSettings

_FRAMES_PER_SECOND = 8.0
"""Moments among which the one next to that which is wanted is taken."""
_QUALITY = 80
_BATCH = 16


class Moment(NamedTuple):
    """A moment of a video.

    Attributes:
        video: Name of the video, as a table has it.
        seconds: Presentation time.
    """

    video: str
    seconds: float


def thumbnails(
    moments: Sequence[Moment],
    sources: Sequence[str],
    *,
    max_pixels: int,
    image_fps: float = 25.0,
    size: int = 160,
    follow_links: bool = False,
    sandbox: Sandbox = "auto",
) -> list[bytes | None]:
    """Return a picture of each moment: the middle of the frame, square, as JPEG.

    Args:
        moments: What is shown.
        sources: Where the videos are: what `vidcnn infer` was given, so that their names are the same.
        max_pixels: Largest frame that is decoded.
        image_fps: Frames per second of a folder of numbered images.
        size: Height and width of a picture, in pixels.
        follow_links: Follow symbolic links out of the sources.
        sandbox: How the process that decodes is confined.

    Returns:
        A picture for each moment; None where its video is not there, or cannot be read then.

    Raises:
        SourceError: A source does not exist.
    """
    found: list[bytes | None] = [None] * len(moments)
    wanted: dict[str, list[int]] = {}
    for number, moment in enumerate(moments):
        wanted.setdefault(moment.video, []).append(number)
    planning = PlanSettings(ClipSpec(Sampling(1, fps=_FRAMES_PER_SECOND)), image_fps, max_pixels, sandbox=sandbox)
    shown = Preprocessing(size, (size, size), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), "area")
    decoding = DecodeSettings(shown, exact=False, batch_size=_BATCH, max_pixels=max_pixels, sandbox=sandbox)
    with Cell() as cell:
        for video in Listing(tuple(sources), follow_links=follow_links):
            numbers = wanted.pop(video_text(video.name), None)
            if numbers is not None:
                unit = _frames_at(video, [moments[number].seconds for number in numbers], planning, cell)
                for place, picture in _pictures(unit, decoding, cell):
                    found[numbers[place]] = picture
            if not wanted:
                break
    return found


def _frames_at(
    video: SourceVideo, seconds: Sequence[float], settings: PlanSettings, cell: Cell
) -> list[PlannedSegment]:
    """Return a segment of one frame for each time; none where the video cannot be read."""
    for _, plan in plan_in_cell([video], settings, cell):
        if isinstance(plan, VideoError | StorageError):
            return []
        starts = np.concatenate([planned.segment.start_seconds for planned in plan])
        owners = np.repeat(np.arange(len(plan)), [planned.segment.num_clips for planned in plan])
        firsts = np.concatenate([np.arange(planned.segment.num_clips) for planned in plan])
        unit = []
        for number, second in enumerate(seconds):
            place = int(np.clip(np.searchsorted(starts, second, side="right") - 1, 0, len(starts) - 1))
            planned = plan[owners[place]]
            segment = _one_clip(planned.segment, int(firsts[place]), number, len(seconds))
            unit.append(replace(planned, segment=segment))
        return unit
    return []


def _one_clip(segment: Segment, clip: int, index: int, count: int) -> Segment:
    """Return a segment of one clip of another one."""
    chosen = slice(clip, clip + 1)
    frames, pts = segment.frames[chosen], segment.pts[chosen]
    keyframe = int(np.searchsorted(segment.keyframe_pts, pts.min(), side="right")) - 1
    return replace(
        segment,
        index=index,
        count=count,
        first_clip=0,
        frames=frames,
        pts=pts,
        start_seconds=segment.start_seconds[chosen],
        end_seconds=segment.end_seconds[chosen],
        truncated=segment.truncated[chosen],
        keyframe_pts=segment.keyframe_pts[max(keyframe, 0) : max(keyframe, 0) + 1],
        starts_at_beginning=segment.starts_at_beginning and keyframe <= 0,
    )


def _pictures(unit: list[PlannedSegment], settings: DecodeSettings, cell: Cell) -> list[tuple[int, bytes]]:
    """Return the pictures of segments of one frame, each with the number of its segment."""
    import cv2

    found = []
    for batch, _ in decode_in_cell(unit, settings, cell) if unit else ():
        for ref, pixels in zip(batch.clips, batch.pixels, strict=True):
            blue_first = np.ascontiguousarray(pixels[0][..., ::-1])  # (h, w, 3)
            is_written, picture = cv2.imencode(".jpg", blue_first, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
            if is_written:
                found.append((batch.segments[ref.segment].segment.index, picture.tobytes()))
    return found

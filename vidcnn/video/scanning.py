"""Examining whole videos, in a process that `vidcnn.video.cell` can kill.

Takes listed videos, returns for each what `vidcnn scan` writes about it: what its headers and packets show, what can be
seen in a frame every second or so, and a hash of its bytes. Frames are planned and decoded as those of clips are, so
what is wrong with a video here is what would be wrong with its clips.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from vidcnn.choices import Sandbox
from vidcnn.errors import InternalError, StorageError, VideoError
from vidcnn.sampling.pacing import pace_of
from vidcnn.sampling.preprocessing import Preprocessing
from vidcnn.sampling.segments import ClipSpec, FrameTimes, Sampling, plan_segments
from vidcnn.sources import SourceVideo
from vidcnn.sources.keys import video_text
from vidcnn.video.cell_status import at
from vidcnn.video.cell_values import register
from vidcnn.video.cell_worker import Preparation
from vidcnn.video.container import plain_errors
from vidcnn.video.decode import decode_segment
from vidcnn.video.files import open_file
from vidcnn.video.frame_folders import decode_image, folder_frames
from vidcnn.video.golden import decoding_with
from vidcnn.video.planning import (
    DEFAULT_TIMEOUT_SECONDS,
    PlannedSegment,
    probe_listed,
    raise_listed_error,
    read_times,
)
from vidcnn.video.probe import FrameMatching
from vidcnn.video.watching import PICTURE_SIZE, Seen, Watcher

_SLOWEST_BYTES_PER_SECOND = 500_000
_BLOCK_BYTES = 4 * 2**20
_HEADWAY_SECONDS = 1.0
_SCANS_AT_ONCE = 64
_CONTAINERS = {"mov,mp4,m4a,3gp,3g2,mj2": "mp4"}
"""What containers are called whose demuxer in libav has several names; others by the first of them."""
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601

_Size = (PICTURE_SIZE, PICTURE_SIZE)
_PICTURE = Preprocessing(resize=_Size, crop=_Size, mean=(0, 0, 0), std=(1, 1, 1), interpolation="area")


@dataclass(frozen=True)
class ScanSettings:
    """What examining a video depends on, besides the file.

    Args:
        sample_seconds: One frame in so many seconds is decoded; None decodes none.
        hashes: Whether all bytes are read for their hash.
        probes: Whether headers and packets are read.
        sandbox: How the process that examines them is confined.
        image_fps: Images per second of a folder of numbered images.
        max_pixels: Largest frame, width times height, that is accepted.
        timeout_seconds: How long reading may make no headway, besides what a video's size allows.
    """

    sample_seconds: float | None
    hashes: bool
    image_fps: float
    max_pixels: int
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
    probes: bool = True
    sandbox: Sandbox = "auto"

    @property
    def preparation(self) -> Preparation | None:
        """What is called in that process before it is confined; None where nothing is decoded."""
        return None if self.sample_seconds is None else decoding_with(_PICTURE, exact=False)

    def allowed_seconds(self, video: SourceVideo) -> float:
        """Return how long it may take to make any headway with a video, with storage as slow as any."""
        return self.timeout_seconds + video.size_bytes / _SLOWEST_BYTES_PER_SECOND


class VideoScan(NamedTuple):
    """What was found out about a video that can be opened.

    Attributes:
        facts: Values by column of `vidcnn.scans.columns`; those that are not known are missing.
        error: The first thing that is wrong with its frames; None where all that were decoded are sound.
    """

    facts: dict[str, Any]
    error: VideoError | None = None


register(VideoScan)

Found = VideoScan | VideoError | StorageError
"""What is known of a video; or why it cannot be opened, or cannot be read now."""


def scan_each(videos: Sequence[SourceVideo], settings: ScanSettings, num_at_once: int) -> Iterator[list[Found]]:
    """Examine videos one after the other.

    Args:
        videos: The videos.
        settings: What is examined.
        num_at_once: How many are read at the same time, where no frame is decoded.

    Yields:
        What was found about some videos, in the order given; an empty list is a sign of headway.

    Raises:
        InternalError: Something went wrong that is no fault of a video.
    """
    if settings.sample_seconds is None and not settings.hashes and num_at_once > 1:
        with ThreadPoolExecutor(num_at_once) as pool:
            for number, found in enumerate(pool.map(lambda video: _finished(_scan(video, settings)), videos)):
                at(number + 1)
                yield [found]
        return
    done: list[Found] = []
    told = time.monotonic()
    for number, video in enumerate(videos):
        steps = _scan(video, settings)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                done.append(end.value)
                break
            if time.monotonic() - told > _HEADWAY_SECONDS:
                yield done
                done, told = [], time.monotonic()
        at(number + 1)
        if len(done) == _SCANS_AT_ONCE or time.monotonic() - told > _HEADWAY_SECONDS:
            yield done
            done, told = [], time.monotonic()
    if done:
        yield done


def _finished(steps: Generator[None, None, Found]) -> Found:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found: Found = end.value
            return found


def _scan(video: SourceVideo, settings: ScanSettings) -> Generator[None, None, Found]:
    """Examine a video; each value that is yielded is a sign of headway."""
    try:
        with plain_errors():
            raise_listed_error(video)
            facts: dict[str, Any] = {}
            error = None
            if settings.probes:
                error = yield from _examine(video, settings, facts)
            if settings.hashes:
                facts["content_hash"] = yield from _content_hash(video)
            return VideoScan(facts, error)
    except (VideoError, StorageError) as failure:
        return failure
    except Exception as failure:
        raise InternalError.of(failure, f"scanning {video_text(video.name)}") from failure


def _examine(
    video: SourceVideo, settings: ScanSettings, facts: dict[str, Any]
) -> Generator[None, None, VideoError | None]:
    """Note what headers, packets and frames show, and return what is wrong with the frames."""
    times, timing = _probe(video, settings, facts)
    yield
    error = None
    num_missing = 0 if times.num_available is None else times.num_frames - times.num_available
    if settings.sample_seconds is not None:
        error = yield from _watch(video, settings, settings.sample_seconds, times, timing, facts)
    if error is None and num_missing:
        error = VideoError("truncated", f"the file was cut off: its last {num_missing} frames are missing")
    facts["readable"] = num_missing < times.num_frames and facts.get("num_samples", 1) > facts.get("num_damaged", 0)
    return error


def _probe(video: SourceVideo, settings: ScanSettings, facts: dict[str, Any]) -> tuple[FrameTimes, FrameMatching]:
    """Note what headers and packets show, and return when frames are shown."""
    if video.is_frame_folder:
        times, timing = read_times(video, image_fps=settings.image_fps, max_pixels=settings.max_pixels)
        image = decode_image(folder_frames(video.location)[0], max_pixels=settings.max_pixels, root=video.root)
        facts |= {"container": "images", "width": image.width, "height": image.height, "num_audio_streams": 0}
        facts |= {"pixel_format": image.format.name}
    else:
        info = probe_listed(video, max_pixels=settings.max_pixels)
        times, timing = info.times, info.timing
        width, height = info.display_size
        facts |= {
            "container": _CONTAINERS.get(info.container, info.container.partition(",")[0]),
            "video_codec": info.codec,
            "width": width,
            "height": height,
            "pixel_format": info.pixel_format,
            "bit_depth": info.bit_depth,
            "is_hdr": info.is_hdr,
            "num_audio_streams": info.num_audio_streams,
        }
    pace = pace_of(times)
    facts |= {
        "duration_seconds": pace.duration_seconds,
        "num_frames": pace.num_frames,
        "frame_rate": pace.frame_rate,
    }
    if timing == "pts":  # otherwise, times are made up, and where keyframes are is not known
        facts |= pace._asdict()
    return times, timing


def _watch(
    video: SourceVideo,
    settings: ScanSettings,
    sample_seconds: float,
    times: FrameTimes,
    timing: FrameMatching,
    facts: dict[str, Any],
) -> Generator[None, None, VideoError | None]:
    """Look at a frame in every so many seconds, note what is seen, and return the first error of a frame.

    Raises:
        StorageError: Frames cannot be read now.
    """
    watcher, first_error = Watcher(), None
    try:
        segments = plan_segments(times, ClipSpec(Sampling(num_frames=1, fps=1 / sample_seconds)))
    except VideoError as error:
        return error
    for segment in segments:
        request = PlannedSegment.of(video, timing, segment).request(_PICTURE, max_pixels=settings.max_pixels)
        pictures: list[Any] = [None] * segment.num_clips
        errors: list[VideoError | None] = [None] * segment.num_clips
        for clip in decode_segment(request):
            if isinstance(clip.error, StorageError):
                raise clip.error
            if clip.pixels is not None:
                pictures[clip.index] = (clip.pixels[0] @ _LUMA).round().astype(np.uint8)  # (H, W)
            errors[clip.index] = clip.error
            yield
        first_error = first_error or next(filter(None, errors), None)
        for start, end, picture in zip(segment.start_seconds, segment.end_seconds, pictures, strict=True):
            watcher.add(float(start), float(end), picture)
    end_seconds = float(times.end * times.time_base)
    facts |= _seen_facts(watcher.seen(sample_seconds), end_seconds)
    return first_error


def _seen_facts(seen: Seen, end_seconds: float) -> dict[str, Any]:
    black, frozen = ([(start, min(end, end_seconds)) for start, end in some] for some in (seen.black, seen.frozen))
    return {
        "num_samples": seen.num_samples,
        "num_damaged": seen.num_damaged,
        "black": black,
        "black_seconds": sum(end - start for start, end in black),
        "frozen": frozen,
        "frozen_seconds": sum(end - start for start, end in frozen),
        "perceptual_hash": seen.print,
    }


def _content_hash(video: SourceVideo) -> Generator[None, None, str]:
    """Return the SHA-256 of a file's bytes, or of those of all images of a folder in their order.

    Raises:
        VideoError: It is not what was listed.
        StorageError: It cannot be read now.
    """
    digest = hashlib.sha256()
    for location in folder_frames(video.location) if video.is_frame_folder else [video.location]:
        file = open_file(location, video.root)
        try:
            if not video.is_frame_folder and file.size_bytes != video.size_bytes:
                raise VideoError("changed", "the file changed since it was listed")
            while block := file.read(_BLOCK_BYTES):
                digest.update(block)
                yield
        finally:
            file.close()
        yield
    return digest.hexdigest()

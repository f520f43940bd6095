"""What a video holds, before any of its pixels are needed.

In goes a location, out comes a `VideoInfo` with the presentation time of every frame. The times are read from the
container's index where the index can be proved right from both ends of the file, and otherwise by demuxing: reading all
packets without decoding them, which costs some hundredth of what decoding costs.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

import av.error
import numpy as np

from vidcnn.clips import FrameTimes, IntArray
from vidcnn.errors import VideoError
from vidcnn.video.container import MAX_PIXELS, OpenVideo, read_at, file_version, open_video
from vidcnn.video.packets import is_shown
from vidcnn.video.structure import declared_size

Timing = Literal["pts", "order"]
"""How a decoded frame is matched to its place: by its presentation time, or by counting from the file's start."""

INDEX_MIN_FRAMES = 2048
"""Below this many frames, demuxing is so cheap that the index is not consulted."""

_INDEX_PROOF_PACKETS = 64
_DEFAULT_RATE = Fraction(25)
_MAX_RATE = 1000


@dataclass(frozen=True, eq=False)
class VideoInfo:
    """A video's first real video stream.

    Attributes:
        times: The frames in presentation order, with keyframes.
        timing: How decoded frames are matched to `times`.
        width: Coded width in pixels, before rotation.
        height: Coded height in pixels, before rotation.
        rotation: Degrees counterclockwise that frames are turned for display.
        pixel_aspect: Width of a pixel divided by its height.
        codec: libav's name of the decoder.
        container: libav's name of the demuxer.
        size_bytes: Size of the file.
        mtime_ns: Modification time of the file, in nanoseconds since the epoch.
    """

    times: FrameTimes
    timing: Timing
    width: int
    height: int
    rotation: int
    pixel_aspect: Fraction
    codec: str
    container: str
    size_bytes: int
    mtime_ns: int

    @property
    def duration_seconds(self) -> float:
        """Seconds from the first frame to the end of the last."""
        return float((self.times.end - int(self.times.pts[0])) * self.times.time_base)

    @property
    def frame_rate(self) -> float:
        """Mean number of frames per second."""
        return self.times.num_frames / self.duration_seconds


def probe_video(location: str, *, max_pixels: int = MAX_PIXELS) -> VideoInfo:
    """Read what a video file holds.

    Args:
        location: Absolute path or URI of a regular file.
        max_pixels: Largest frame, width times height, that is accepted.

    Returns:
        The first real video stream's frames and properties.

    Raises:
        VideoError: `unreadable`, `no_video`, `truncated`, `too_large` or `unsafe`.
    """
    size_bytes, mtime_ns = file_version(location)
    with open_video(location, max_pixels=max_pixels) as video:
        stream, codec = video.stream, video.stream.codec_context
        times = _times_from_index(video)
        timing: Timing = "pts"
        if times is None:
            times, timing = _times_from_packets(video, location)
        return VideoInfo(
            times=times,
            timing=timing,
            width=codec.width,
            height=codec.height,
            rotation=_rotation(location, video),
            pixel_aspect=stream.sample_aspect_ratio or Fraction(1),
            codec=codec.name,
            container=video.container.format.name,
            size_bytes=size_bytes,
            mtime_ns=mtime_ns,
        )


def _times_from_index(video: OpenVideo) -> FrameTimes | None:
    """Return the frames of a long file with a constant rate from its index alone, or None where it proves nothing.

    The index of an MP4 lists decoding times. Where these are evenly spaced, and the presentation times of the packets
    at both ends lie on one grid that has just as many places as there are packets, every place on it is a frame.
    """
    stream = video.stream
    if not video.container.format.name.startswith("mov") or len(stream.index_entries) < INDEX_MIN_FRAMES:
        return None
    entries = list(stream.index_entries)
    if any(entry.is_discard for entry in entries):
        return None
    decoding = np.fromiter((entry.timestamp for entry in entries), np.int64, len(entries))
    steps = np.diff(decoding)
    step = int(steps[0])
    if step <= 0 or (steps != step).any():
        return None
    num_available = len(entries)
    for index, entry in enumerate(entries):
        if entry.pos + entry.size > video.size_bytes:
            num_available = index
            break
    if num_available < len(entries):
        return None  # what is left of a file that was cut off is found by reading it

    head = _presentation_times(video, _INDEX_PROOF_PACKETS)
    keyframes = np.array([index for index, entry in enumerate(entries) if entry.is_keyframe], np.int64)
    video.container.seek(int(decoding[keyframes[-1]]), stream=stream)
    tail = _presentation_times(video, None)
    video.container.seek(int(decoding[0]), stream=stream)
    if not head or not tail:
        return None
    first, last = min(head), max(tail)
    on_grid = all((pts - first) % step == 0 for pts in (*head, *tail))
    if not on_grid or (last - first) // step + 1 != len(entries):
        return None
    pts = first + step * np.arange(len(entries), dtype=np.int64)
    # Where in the order of presentation a keyframe stands is known only to within the reordering delay; the decoder
    # looks for it by its own time, so that this only decides where segments are cut.
    return FrameTimes(pts, last + step, stream.time_base, keyframes)


def _presentation_times(video: OpenVideo, num_packets: int | None) -> list[int]:
    """Return the presentation times of the next packets, or none at all if one is unknown."""
    times: list[int] = []
    for packet in video.container.demux(video.stream):
        if packet.size == 0 and packet.dts is None:
            continue
        if packet.pts is None:
            return []
        times.append(packet.pts)
        if len(times) == num_packets:
            break
    return times


def _times_from_packets(video: OpenVideo, location: str) -> tuple[FrameTimes, Timing]:
    """Read all packets of the stream, and return the frames they stand for."""
    stream, codec = video.stream, video.stream.codec_context
    pts, dts, keyframes = array("q"), array("q"), array("q")
    num_without_pts = num_untimed = last_duration = 0
    try:
        for packet in video.container.demux(stream):
            if packet.size == 0 or packet.is_discard or not is_shown(codec.name, packet):
                continue
            if packet.is_keyframe:
                keyframes.append(len(pts))
            num_without_pts += packet.pts is None
            num_untimed += packet.pts is None and packet.dts is None
            dts.append(_first_known(packet.dts, packet.pts))
            pts.append(_first_known(packet.pts, packet.dts))
            last_duration = packet.duration or last_duration
    except (av.error.FFmpegError, OSError) as error:
        if not pts:
            raise VideoError("unreadable", f"no packet can be read ({error.strerror})") from error
    if not pts:
        raise VideoError("no_video", "its video stream holds no frames")

    presentation = np.frombuffer(pts, np.int64)
    decoding = np.frombuffer(dts, np.int64)
    keys = np.frombuffer(keyframes, np.int64)
    ordered = np.sort(presentation)
    rate = _nominal_rate(stream)
    time_base = stream.time_base or 1 / rate
    reorders = bool(codec.has_b_frames)
    if (
        (num_without_pts and (reorders or num_untimed))
        or _has_duplicates(ordered)
        or _jumps_back(presentation)
        # AVI stores no presentation times: what libav gives out are decoding times.
        or (reorders and video.container.format.name == "avi")
    ):
        return _counted_times(decoding, bool(num_untimed), time_base, rate), "order"
    keyframe_indexes = np.unique(np.searchsorted(ordered, presentation[keys]))
    times = FrameTimes(
        ordered, _end(ordered, last_duration, 1 / (rate * time_base)), time_base, keyframe_indexes
    )
    return _with_missing(times, video, location), "pts"


def _has_duplicates(ordered: IntArray) -> bool:
    return bool((np.diff(ordered) <= 0).any())


def _jumps_back(presentation: IntArray) -> bool:
    """Tell whether time starts over in the middle, as it does where recordings were joined byte by byte.

    Frames are reordered by at most 16 places (ITU-T H.264, A.3.1 h), so anything far beyond is another timeline.
    """
    if len(presentation) < 2:
        return False
    gap = max(1, int(np.median(np.abs(np.diff(presentation)))))
    return bool((np.maximum.accumulate(presentation) - presentation > 64 * gap).any())


def _end(ordered: IntArray, last_duration: int, nominal_gap: Fraction) -> int:
    """Return when the last frame leaves the screen: its own duration, unless that is missing or out of proportion."""
    gap = int(np.median(np.diff(ordered))) if len(ordered) > 1 else max(1, int(nominal_gap))
    if 0 < last_duration <= 4 * gap or (last_duration > 0 and len(ordered) == 1):
        gap = last_duration
    return int(ordered[-1]) + max(1, gap)


def _counted_times(decoding: IntArray, untimed: bool, time_base: Fraction, rate: Fraction) -> FrameTimes:
    """Return times for frames that can only be counted: the decoding times, or else an even spacing."""
    if untimed or (np.diff(decoding) <= 0).any():
        return FrameTimes(np.arange(len(decoding), dtype=np.int64), len(decoding), 1 / rate)
    return FrameTimes(decoding, _end(decoding, 0, 1 / (rate * time_base)), time_base)


def _with_missing(times: FrameTimes, video: OpenVideo, location: str) -> FrameTimes:
    """Add the frames that a file which was cut off should still have, as far as its header tells."""
    declared = declared_size(read_at(location), video.size_bytes)
    duration = video.container.duration
    if declared is None or declared <= video.size_bytes or not duration or times.num_frames < 2:
        return times
    start = video.container.start_time or 0
    end = int(Fraction(start + duration, 1_000_000) / times.time_base)
    gap = max(1, int(np.median(np.diff(times.pts))))
    lost = times.end + gap * np.arange((end - times.end) // gap, dtype=np.int64)
    if len(lost) == 0:
        return times
    pts = np.concatenate([times.pts, lost])
    return FrameTimes(pts, int(lost[-1]) + gap, times.time_base, times.keyframes, times.num_frames)


def _first_known(time: int | None, other: int | None) -> int:
    return time if time is not None else other if other is not None else 0


def _nominal_rate(stream: Any) -> Fraction:
    for rate in (stream.average_rate, stream.guessed_rate, stream.codec_context.framerate):
        if rate and 0 < rate <= _MAX_RATE:
            return Fraction(rate)
    return _DEFAULT_RATE


def _rotation(location: str, video: OpenVideo) -> int:
    """Return the first frame's rotation; 0 where no frame can be decoded."""
    try:
        video.container.seek(0)
        for packet in video.container.demux(video.stream):
            for frame in packet.decode():
                return int(frame.rotation)
    except (av.error.FFmpegError, OSError, ValueError):
        return 0
    return 0

"""When each frame of a video is shown.

In goes an open video, out come its `FrameTimes`. They are read from the container's index where the index can be proved
right from both ends of the file, and otherwise by demuxing: reading all packets without decoding them, which costs some
hundredth of what decoding costs.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from fractions import Fraction
from itertools import islice
from typing import Any, Literal, NamedTuple

import av.error
import numpy as np

from vidcnn.errors import VideoError
from vidcnn.grid import FrameTimes, IntArray
from vidcnn.video.container import OpenVideo, read_from_keyframe
from vidcnn.video.files import read_at
from vidcnn.video.missing import entries_cut_off, has_index, with_lost_duration, with_lost_entries
from vidcnn.video.packets import frame_counter
from vidcnn.video.structure import explain_cut

Timing = Literal["pts", "order"]
"""How a decoded frame is matched to its place: by its presentation time, or by counting from the first keyframe."""

INDEX_MIN_FRAMES = 2048
"""Below this many frames, demuxing is so cheap that the index is not consulted."""

_PROOF_PACKETS = 64
_PROOF_PLACES = (0.5, 0.8)
_DEFAULT_RATE = Fraction(25)
_MAX_RATE = 1000
_MAX_TIME = 2**61
"""Times beyond this, in any unit, are nonsense, and would overflow in arithmetic."""


def read_timeline(video: OpenVideo, location: str) -> tuple[FrameTimes, Timing]:
    """Find out when each frame of a video is shown.

    Args:
        video: The video, just opened.
        location: Its absolute path or URI.

    Returns:
        The frames, with those that a file which was cut off should still have; how to match decoded frames to them.

    Raises:
        VideoError: `no_video` or `truncated`: not one frame can be read.
    """
    times = _times_from_index(video)
    if times is not None:
        return times, "pts"
    lost = entries_cut_off(video)
    read = _read_packets(video, {entry.pos for entry in lost})
    if len(read.presentation) == 0:
        if reason := explain_cut(read_at(location), video.size_bytes):
            raise VideoError("truncated", reason)
        raise VideoError("no_video", "its video stream holds no frames")
    times, timing = _arrange(read, video)
    if lost and timing == "pts":
        return with_lost_entries(times, video, int(read.decoding[0]), len(lost)), timing
    if timing == "pts" and not _times_last(times, video):
        timing = "order"
    return with_lost_duration(times, video, location), timing


class _Packets(NamedTuple):
    """The packets with which a frame appears, in decoding order.

    Attributes:
        presentation: int64: presentation times; decoding times where these are unknown.
        decoding: int64: decoding times; presentation times where these are unknown.
        keyframes: int64: indexes of those where decoding can start.
        first_keyframe: Presentation time of the first keyframe, which may itself be cut off by an edit list.
        last_duration: Duration of the last one that has any.
        num_without_pts: How many have no presentation time.
        num_untimed: How many have no time at all.
        num_unplaced: How many have no place in the file.
    """

    presentation: IntArray
    decoding: IntArray
    keyframes: IntArray
    first_keyframe: int | None
    last_duration: int
    num_without_pts: int
    num_untimed: int
    num_unplaced: int


def _times_from_index(video: OpenVideo) -> FrameTimes | None:
    """Return the frames of a long file with a constant rate from its index alone, or None where it proves nothing.

    The index of an MP4 lists decoding times. Where these are evenly spaced, and the presentation times of the packets
    at both ends lie on one grid that has just as many places as there are packets, every place on it is a frame.
    """
    stream = video.stream
    if not has_index(video) or len(stream.index_entries) < INDEX_MIN_FRAMES:
        return None
    entries = list(stream.index_entries)
    if any(entry.is_discard or entry.pos + entry.size > video.size_bytes for entry in entries):
        return None
    decoding = np.fromiter((entry.timestamp for entry in entries), np.int64, len(entries))
    steps = np.diff(decoding)
    step = int(steps[0])
    keyframes = np.array([index for index, entry in enumerate(entries) if entry.is_keyframe], np.int64)
    if step <= 0 or (steps != step).any() or len(keyframes) == 0 or keyframes[0] != 0:
        return None

    proof = [packet.pts for packet in islice(_frame_packets(video), _PROOF_PACKETS)]
    video.container.seek(int(decoding[keyframes[-1]]), stream=stream)
    proof += [packet.pts for packet in _frame_packets(video)]
    video.container.seek(int(decoding[0]), stream=stream)
    if not proof or None in proof:
        return None
    first, last = min(proof), max(proof)
    on_grid = all((pts - first) % step == 0 for pts in proof)
    if not on_grid or (last - first) // step + 1 != len(entries):
        return None
    pts = first + step * np.arange(len(entries), dtype=np.int64)
    # Where in the order of presentation a keyframe stands is known only to within the reordering delay; the decoder
    # looks for it by its own time, so that this only decides where segments are cut.
    return FrameTimes(pts, last + step, stream.time_base, keyframes)


def _frame_packets(video: OpenVideo) -> Iterator[Any]:
    """Yield the packets with which a frame appears, or is cut off by an edit list, from the next keyframe on."""
    starts_frame = frame_counter(video.stream.codec_context)
    for packet in read_from_keyframe(video):
        if packet is not None and packet.size and starts_frame(packet):
            yield packet


def _read_packets(video: OpenVideo, lost_positions: set[int]) -> _Packets:
    presentation, decoding, keyframes = array("q"), array("q"), array("q")
    num_without_pts = num_untimed = num_unplaced = last_duration = 0
    first_keyframe = None
    for packet in _frame_packets(video):
        if packet.is_keyframe and first_keyframe is None:
            first_keyframe = _first_known(packet.pts, packet.dts)
        if packet.is_discard or packet.pos in lost_positions:  # of the first that is lost, the beginning may be there
            continue
        if packet.is_keyframe:
            keyframes.append(len(presentation))
        num_without_pts += packet.pts is None
        num_untimed += packet.pts is None and packet.dts is None
        num_unplaced += packet.pos is None
        presentation.append(_first_known(packet.pts, packet.dts))
        decoding.append(_first_known(packet.dts, packet.pts))
        last_duration = packet.duration or last_duration
    return _Packets(
        presentation=np.frombuffer(presentation, np.int64),
        decoding=np.frombuffer(decoding, np.int64),
        keyframes=np.frombuffer(keyframes, np.int64),
        first_keyframe=first_keyframe,
        last_duration=last_duration,
        num_without_pts=num_without_pts,
        num_untimed=num_untimed,
        num_unplaced=num_unplaced,
    )


def _arrange(read: _Packets, video: OpenVideo) -> tuple[FrameTimes, Timing]:
    """Put frames in the order of presentation, or settle for counting them."""
    stream = video.stream
    rate = _nominal_rate(stream)
    time_base = stream.time_base or 1 / rate
    if read.num_untimed or int(np.abs(read.presentation).max()) > _MAX_TIME:
        return _even_times(len(read.presentation), rate), "order"
    ordered = np.sort(read.presentation)
    if read.first_keyframe is not None:
        # Frames shown before the first keyframe but coded after it build on frames that are not there.
        ordered = ordered[ordered >= read.first_keyframe]
    reorders = bool(stream.codec_context.has_b_frames)
    nominal_gap = 1 / (rate * time_base)
    if (
        (reorders and read.num_without_pts)
        # AVI stores no presentation times: what libav gives out are decoding times.
        or (reorders and video.container.format.name == "avi")
        or _has_duplicates(ordered)
        or _starts_over(read.presentation, read.decoding)
    ):
        if _has_duplicates(read.decoding):
            return _even_times(len(read.decoding), rate), "order"
        return FrameTimes(read.decoding, _end(read.decoding, 0, nominal_gap), time_base), "order"
    keyframes = np.unique(np.searchsorted(ordered, read.presentation[read.keyframes]))
    times = FrameTimes(ordered, _end(ordered, read.last_duration, nominal_gap), time_base, keyframes)
    # A frame without a place in the file got its time from the frames read before it, and another after a seek.
    return times, "order" if read.num_unplaced else "pts"


def _has_duplicates(ordered: IntArray) -> bool:
    return bool((np.diff(ordered) <= 0).any())


def _starts_over(presentation: IntArray, decoding: IntArray) -> bool:
    """Tell whether time starts over in the middle, as it does where recordings were joined byte by byte.

    Frames are reordered by at most 16 places (ITU-T H.264, A.3.1 h), so anything far beyond is another timeline, if
    decoding goes back as well.
    """
    if len(presentation) < 2:
        return False
    gap = max(1, int(np.median(np.abs(np.diff(presentation)))))
    goes_back = np.maximum.accumulate(presentation) - presentation > 64 * gap
    return bool((goes_back & (np.maximum.accumulate(decoding) > decoding)).any())


def _times_last(times: FrameTimes, video: OpenVideo) -> bool:
    """Tell whether packets have the same times after a seek as when the file is read from its beginning.

    Streams may leave most times out, and libav then makes them up as it goes.
    """
    known = frozenset(times.pts.tolist())
    for share in _PROOF_PLACES:
        keyframe = int(times.keyframes[int(len(times.keyframes) * share)]) if len(times.keyframes) else 0
        if keyframe == 0:
            continue
        try:
            video.container.seek(int(times.pts[keyframe]), stream=video.stream)
        except av.error.FFmpegError:
            return False
        for packet in islice(_frame_packets(video), _PROOF_PACKETS):
            if not packet.is_discard and _first_known(packet.pts, packet.dts) not in known:
                return False
    return True


def _even_times(num_frames: int, rate: Fraction) -> FrameTimes:
    return FrameTimes(np.arange(num_frames, dtype=np.int64), num_frames, 1 / rate)


def _end(ordered: IntArray, last_duration: int, nominal_gap: Fraction) -> int:
    """Return when the last frame leaves the screen: its own duration, unless that is missing or out of proportion."""
    gap = int(np.median(np.diff(ordered))) if len(ordered) > 1 else max(1, int(nominal_gap))
    if 0 < last_duration <= 4 * gap or (last_duration > 0 and len(ordered) == 1):
        gap = last_duration
    return int(ordered[-1]) + max(1, gap)


def _first_known(time: int | None, other: int | None) -> int:
    return time if time is not None else other if other is not None else 0


def _nominal_rate(stream: Any) -> Fraction:
    for rate in (stream.average_rate, stream.guessed_rate, stream.codec_context.framerate):
        if rate and 0 < rate <= _MAX_RATE:
            return Fraction(rate)
    return _DEFAULT_RATE

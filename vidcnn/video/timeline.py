"""When each frame of a video is shown.

Takes an open video, returns its `FrameTimes`. They are read from the container's index where the index can be proved
right from both ends of the file, and otherwise by demuxing: reading all packets without decoding them, which costs some
hundredth of what decoding costs.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import islice
from typing import Any, Literal, NamedTuple

import av.error
import av.format
import numpy as np

from vidcnn.errors import VideoError
from vidcnn.sampling.grid import FrameTimes, IntArray
from vidcnn.video.container import OpenVideo, open_video, read_from_keyframe
from vidcnn.video.encryption import find_encryption, reason_of
from vidcnn.video.ending import declared_end, end_of_last
from vidcnn.video.files import read_at
from vidcnn.video.leading import MAX_LEADING_PACKETS, decodable_times, num_lost_at_start
from vidcnn.video.missing import entries_cut_off, has_index, with_lost_duration, with_lost_entries
from vidcnn.video.packets import frame_counter
from vidcnn.video.structure import explain_cut

FrameMatching = Literal["pts", "order"]
"""How a decoded frame is matched to its place: by its presentation time, or by counting from the first keyframe."""

INDEX_MIN_FRAMES = 2048
"""Below this many frames, demuxing is so cheap that the index is not consulted."""

_PROOF_PACKETS = 64
_PROOF_PLACES = (0.5, 0.8)
_DEFAULT_RATE = Fraction(25)
_MAX_RATE = 1000
_MIN_DURATION = Fraction(1, 240)
"""Seconds; cameras record slow motion at up to some 240 frames per second."""
_MAX_TIME = 2**61
"""Times beyond this, in any unit, are nonsense, and would overflow in arithmetic."""


def read_timeline(video: OpenVideo, location: str) -> tuple[FrameTimes, FrameMatching]:
    """Find out when each frame of a video is shown.

    Args:
        video: The video, just opened.
        location: Its absolute path or URI.

    Returns:
        The frames, with those that a file which was cut off should still have; how to match decoded frames to them.

    Raises:
        VideoError: `no_video` or `truncated`: not one frame can be read.
    """
    times, timing = _read_times(video, location)
    return replace(times, size_bytes=video.size_bytes), timing


def _read_times(video: OpenVideo, location: str) -> tuple[FrameTimes, FrameMatching]:
    times = _times_from_index(video)
    if times is not None:
        return times, "pts"
    lost = entries_cut_off(video)
    read = _read_packets(video, {entry.pos for entry in lost})
    if len(read.presentation) == 0:
        if scheme := find_encryption(read_at(location, video.file.root), video.size_bytes):
            raise VideoError("unreadable", reason_of(scheme))
        if reason := explain_cut(read_at(location, video.file.root), video.size_bytes):
            raise VideoError("truncated", reason)
        raise VideoError("no_video", "its video stream contains no frames")
    num_read = len(read.presentation)
    read = _without_undecodable(read, location, video)
    times, timing = _arrange(read, video)
    if lost and timing == "pts":
        return with_lost_entries(times, video, int(read.decoding[0]), len(lost)), timing
    if timing == "pts" and not _times_last(times, video):
        timing = "order"
    if timing == "order":
        # Frames are counted from the beginning, so there is no other place to start from, and one segment.
        times = replace(times, keyframes=np.zeros(1, np.int64))
        num_lost = num_lost_at_start(location, max_pixels=video.max_pixels, root=video.file.root)
        times = _without_start(times, num_lost - (num_read - times.num_frames))
    return with_lost_duration(times, video, location), timing


class _Packets(NamedTuple):
    """The packets with which a frame appears, in decoding order.

    Attributes:
        presentation: int64: presentation times; decoding times where these are unknown.
        decoding: int64: decoding times; presentation times where these are unknown.
        keyframes: int64: indexes of those where decoding can start.
        first_keyframe: Presentation time of the first keyframe, which may itself be cut off by an edit list.
        num_before_keyframe: How many come before the first keyframe.
        durations: int64: durations; 0 where these are unknown.
        num_without_pts: How many have no presentation time.
        num_untimed: How many have no time at all.
        num_unplaced: How many have no place in the file.
    """

    presentation: IntArray
    decoding: IntArray
    keyframes: IntArray
    first_keyframe: int | None
    num_before_keyframe: int
    durations: IntArray
    num_without_pts: int
    num_untimed: int
    num_unplaced: int


def _times_from_index(video: OpenVideo) -> FrameTimes | None:
    """Return the frames of a long file with a constant rate from its index alone, or None where it proves nothing.

    The index of an MP4 lists decoding times. Where these are evenly spaced, and the presentation times of the packets
    at both ends are on one grid that has just as many places as there are packets, every place on it is a frame.
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
    if proof[0] != first:
        return None  # frames shown before the first keyframe: which of them can be decoded has to be tried
    on_grid = all((pts - first) % step == 0 for pts in proof)
    if not on_grid or (last - first) // step + 1 != len(entries):
        return None
    pts = first + step * np.arange(len(entries), dtype=np.int64)
    # Where in the order of presentation a keyframe is, is known only to within the reordering delay; the decoder
    # looks for it by its own time, so that this only decides where segments are cut.
    return FrameTimes(pts, last + step, stream.time_base, keyframes)


def _frame_packets(video: OpenVideo) -> Iterator[Any]:
    """Yield the packets with which a frame appears, or is cut off by an edit list, from the next keyframe on."""
    starts_frame = frame_counter(video.stream.codec_context)
    for packet in read_from_keyframe(video):
        if packet is not None and packet.size and starts_frame(packet):
            yield packet


def _read_packets(video: OpenVideo, lost_positions: set[int]) -> _Packets:
    presentation, decoding, durations, keyframes = array("q"), array("q"), array("q"), array("q")
    num_without_pts = num_untimed = num_unplaced = num_before_keyframe = 0
    first_keyframe = None
    for packet in _frame_packets(video):
        if packet.is_keyframe and first_keyframe is None:
            first_keyframe, num_before_keyframe = _first_known(packet.pts, packet.dts), len(presentation)
        if packet.is_discard or packet.pos in lost_positions:  # of the first that is lost, the beginning may be there
            continue
        if packet.is_keyframe:
            keyframes.append(len(presentation))
        num_without_pts += packet.pts is None
        num_untimed += packet.pts is None and packet.dts is None
        num_unplaced += packet.pos is None
        presentation.append(_first_known(packet.pts, packet.dts))
        decoding.append(_first_known(packet.dts, packet.pts))
        durations.append(packet.duration or 0)
    return _Packets(
        presentation=np.frombuffer(presentation, np.int64),
        decoding=np.frombuffer(decoding, np.int64),
        keyframes=np.frombuffer(keyframes, np.int64),
        first_keyframe=first_keyframe,
        num_before_keyframe=num_before_keyframe,
        durations=np.frombuffer(durations, np.int64),
        num_without_pts=num_without_pts,
        num_untimed=num_untimed,
        num_unplaced=num_unplaced,
    )


def _without_undecodable(read: _Packets, location: str, video: OpenVideo) -> _Packets:
    """Leave out frames that are shown before the first keyframe, and build on frames that are not there."""
    leading = _leading(read)
    if len(leading) == 0 or len(leading) < _num_early(read):
        return read
    times = read.presentation[leading].tolist()
    with open_video(location, max_pixels=video.max_pixels, root=video.file.root) as again:
        decodable = decodable_times(again, read.first_keyframe or 0, frozenset(times))
    lost = leading[[time not in decodable for time in times]]
    keyframes = np.setdiff1d(read.keyframes, lost)
    return read._replace(
        presentation=np.delete(read.presentation, lost),
        decoding=np.delete(read.decoding, lost),
        durations=np.delete(read.durations, lost),
        keyframes=keyframes - np.searchsorted(lost, keyframes),
    )


def _leading(read: _Packets) -> IntArray:
    """Return the indexes of frames that are coded right after the first keyframe, and shown before it."""
    if read.first_keyframe is None or read.num_without_pts:
        return np.zeros(0, np.int64)
    start = read.num_before_keyframe
    is_early = read.presentation[start : start + MAX_LEADING_PACKETS] < read.first_keyframe
    first = int(is_early[:1].sum() == 0)  # the keyframe itself, unless an edit list cuts it off
    num_leading = int(np.cumprod(is_early[first:]).sum())
    return np.arange(num_leading, dtype=np.int64) + start + first


def _num_early(read: _Packets) -> int:
    """Return how many frames are coded anywhere after the first keyframe, and shown before it."""
    return int((read.presentation[read.num_before_keyframe :] < (read.first_keyframe or 0)).sum())


def _without_start(times: FrameTimes, num_lost: int) -> FrameTimes:
    """Leave out the first of frames that are counted."""
    num_lost = min(num_lost, times.num_frames - 1)
    if num_lost <= 0:
        return times
    keyframes = np.unique(np.maximum(times.keyframes - num_lost, 0))
    shift = int(times.pts[num_lost] - times.pts[0])  # so that the first one is where the file begins
    return FrameTimes(times.pts[num_lost:] - shift, times.end - shift, times.time_base, keyframes)


def _arrange(read: _Packets, video: OpenVideo) -> tuple[FrameTimes, FrameMatching]:
    """Put frames in the order of presentation, or settle for counting them."""
    stream = video.stream
    rate = _nominal_rate(stream)
    time_base = stream.time_base or 1 / rate
    if read.num_untimed or _is_raw(video) or int(np.abs(read.presentation).max()) > _MAX_TIME:
        return _even_times(len(read.presentation), rate), "order"
    ordered = np.sort(read.presentation)
    reorders = bool(stream.codec_context.has_b_frames)
    nominal_gap = 1 / (rate * time_base)
    if (
        (reorders and read.num_without_pts)
        # AVI stores no presentation times: what libav gives out are decoding times.
        or (reorders and video.container.format.name == "avi")
        or _has_duplicates(ordered)
        or _starts_over(read)
    ):
        if _has_duplicates(read.decoding):
            return _even_times(len(read.decoding), rate), "order"
        end = end_of_last(read.decoding, 0, nominal_gap=nominal_gap, time_base=time_base, declared=declared_end(video))
        return FrameTimes(read.decoding, end, time_base), "order"
    keyframes = np.unique(np.searchsorted(ordered, read.presentation[read.keyframes]))
    own, declared = _own_duration(read, video), declared_end(video)
    end = end_of_last(ordered, own, nominal_gap=nominal_gap, time_base=time_base, declared=declared)
    times = FrameTimes(ordered, end, time_base, keyframes)
    # A frame without a place in the file got its time from the frames read before it, and another after a seek.
    return times, "order" if read.num_unplaced else "pts"


def _own_duration(read: _Packets, video: OpenVideo) -> int:
    """Return the duration of the frame that is shown last, or 0 where it is not known."""
    # MP4 stores the distances between decoding times. Of the last one this can only be its duration.
    last = -1 if has_index(video) else int(np.argmax(read.presentation))
    known = read.durations[read.durations > 0]
    own = int(read.durations[last] or known[-1]) if len(known) else 0
    # Where a container has none, libav makes durations up from a rate that may be nothing but a unit of time.
    gaps = np.diff(np.sort(read.presentation))
    is_made_up = len(gaps) > 0 and 4 * own < np.median(gaps) and own * (video.stream.time_base or 0) < _MIN_DURATION
    return 0 if is_made_up else own


def _has_duplicates(ordered: IntArray) -> bool:
    return bool((np.diff(ordered) <= 0).any())


def _starts_over(read: _Packets) -> bool:
    """Return whether time starts over in the middle, as it does where recordings were joined byte by byte.

    Frames are reordered by at most 16 places (ITU-T H.264, A.3.1 h), so anything far beyond is another timeline, if
    decoding goes back as well.
    """
    presentation, decoding = read.presentation, read.decoding
    if len(presentation) < 2:
        return False
    if read.first_keyframe is not None and _num_early(read) > len(_leading(read)):
        return True
    gap = max(1, int(np.median(np.abs(np.diff(presentation)))))
    goes_back = np.maximum.accumulate(presentation) - presentation > 64 * gap
    return bool((goes_back & (np.maximum.accumulate(decoding) > decoding)).any())


def _times_last(times: FrameTimes, video: OpenVideo) -> bool:
    """Return whether packets have the same times after a seek as when the file is read from its beginning.

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


def _is_raw(video: OpenVideo) -> bool:
    """Return whether a file is nothing but coded frames: libav makes up their times, with holes and overlaps."""
    return bool(video.container.format.flags & av.format.Flags.no_timestamps.value)


def _even_times(num_frames: int, rate: Fraction) -> FrameTimes:
    return FrameTimes(np.arange(num_frames, dtype=np.int64), num_frames, 1 / rate)


def _first_known(time: int | None, other: int | None) -> int:
    return time if time is not None else other if other is not None else 0


def _nominal_rate(stream: Any) -> Fraction:
    for rate in (stream.average_rate, stream.guessed_rate, stream.codec_context.framerate):
        if rate and 0 < rate <= _MAX_RATE:
            return Fraction(rate)
    return _DEFAULT_RATE

"""When each frame of a video is shown.

In goes an open video, out come its `FrameTimes`. They are read from the container's index where the index can be proved
right from both ends of the file, and otherwise by demuxing: reading all packets without decoding them, which costs some
hundredth of what decoding costs. Frames that a file which was cut off no longer holds are in the times as well, as far
as its headers tell.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import dropwhile, islice
from typing import Any, Literal

import av.error
import numpy as np

from vidcnn.clips import FrameTimes, IntArray
from vidcnn.errors import VideoError
from vidcnn.video.container import OpenVideo, read_at, read_from_keyframe
from vidcnn.video.packets import frame_counter
from vidcnn.video.structure import declared_size, explain_cut

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

    Raises:
        VideoError: `no_video`, `unreadable` or `truncated`: not one frame can be read.
    """
    times = _times_from_index(video)
    return (times, "pts") if times is not None else _times_from_packets(video, location)


def _times_from_index(video: OpenVideo) -> FrameTimes | None:
    """Return the frames of a long file with a constant rate from its index alone, or None where it proves nothing.

    The index of an MP4 lists decoding times. Where these are evenly spaced, and the presentation times of the packets
    at both ends lie on one grid that has just as many places as there are packets, every place on it is a frame.
    """
    stream = video.stream
    if not _has_index(video) or len(stream.index_entries) < INDEX_MIN_FRAMES:
        return None
    entries = list(stream.index_entries)
    if any(entry.is_discard or entry.pos + entry.size > video.size_bytes for entry in entries):
        return None
    decoding = np.fromiter((entry.timestamp for entry in entries), np.int64, len(entries))
    steps = np.diff(decoding)
    step = int(steps[0])
    if step <= 0 or (steps != step).any():
        return None

    keyframes = np.array([index for index, entry in enumerate(entries) if entry.is_keyframe], np.int64)
    if len(keyframes) == 0:
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
    """Yield the packets with which a frame appears, from the next keyframe on."""
    starts_frame = frame_counter(video.stream.codec_context)
    for packet in read_from_keyframe(video):
        if packet is not None and packet.size and not packet.is_discard and starts_frame(packet):
            yield packet


def _times_from_packets(video: OpenVideo, location: str) -> tuple[FrameTimes, Timing]:
    """Read all packets of the stream, and return the frames they stand for."""
    stream, codec = video.stream, video.stream.codec_context
    lost = _entries_cut_off(video)
    lost_positions = {entry.pos for entry in lost}
    pts, dts, keyframes = array("q"), array("q"), array("q")
    num_without_pts = num_untimed = num_unplaced = last_duration = 0
    for packet in _frame_packets(video):
        if lost and packet.pos in lost_positions:
            continue
        if packet.is_keyframe:
            keyframes.append(len(pts))
        num_without_pts += packet.pts is None
        num_untimed += packet.pts is None and packet.dts is None
        num_unplaced += packet.pos is None
        dts.append(_first_known(packet.dts, packet.pts))
        pts.append(_first_known(packet.pts, packet.dts))
        last_duration = packet.duration or last_duration
    if not pts:
        if reason := explain_cut(read_at(location), video.size_bytes):
            raise VideoError("truncated", reason)
        raise VideoError("no_video", "its video stream holds no frames")

    presentation, decoding = np.frombuffer(pts, np.int64), np.frombuffer(dts, np.int64)
    keys = np.frombuffer(keyframes, np.int64)
    # Frames shown before the first keyframe but coded after it build on frames that are not there.
    ordered = np.sort(presentation[presentation >= presentation[0]] if len(keys) else presentation)
    rate = _nominal_rate(stream)
    time_base = stream.time_base or 1 / rate
    end = _end(ordered, last_duration, 1 / (rate * time_base))
    reorders = bool(codec.has_b_frames)
    if num_untimed or int(np.abs(presentation).max()) > _MAX_TIME:
        times, timing = _even_times(len(presentation), rate), "order"
    # AVI stores no presentation times: what libav gives out are decoding times.
    elif reorders and (num_without_pts or video.container.format.name == "avi"):
        return _counted_times(decoding, time_base, rate), "order"
    elif _has_duplicates(ordered) or _starts_over(presentation, decoding):
        return _counted_times(decoding, time_base, rate), "order"
    else:
        keyframe_indexes = np.unique(np.searchsorted(ordered, presentation[keys]))
        end = _end(ordered, last_duration, 1 / (rate * time_base))
        times = FrameTimes(ordered, end, time_base, keyframe_indexes)
        ...


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


def _end(ordered: IntArray, last_duration: int, nominal_gap: Fraction) -> int:
    """Return when the last frame leaves the screen: its own duration, unless that is missing or out of proportion."""
    gap = int(np.median(np.diff(ordered))) if len(ordered) > 1 else max(1, int(nominal_gap))
    if 0 < last_duration <= 4 * gap or (last_duration > 0 and len(ordered) == 1):
        gap = last_duration
    return int(ordered[-1]) + max(1, gap)


def _counted_times(decoding: IntArray, time_base: Fraction, rate: Fraction) -> FrameTimes:
    """Return times for frames that can only be counted: the decoding times, or else an even spacing."""
    if _has_duplicates(decoding):
        return _even_times(len(decoding), rate)
    return FrameTimes(decoding, _end(decoding, 0, 1 / (rate * time_base)), time_base)


def _even_times(num_frames: int, rate: Fraction) -> FrameTimes:
    return FrameTimes(np.arange(num_frames, dtype=np.int64), num_frames, 1 / rate)


def _times_last(video: OpenVideo, times: FrameTimes) -> bool:
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
        packets = dropwhile(lambda packet: not packet.is_keyframe, _frame_packets(video))
        if any(_first_known(packet.pts, packet.dts) not in known for packet in islice(packets, _PROOF_PACKETS)):
            return False
    return True


def _has_index(video: OpenVideo) -> bool:
    return bool(video.container.format.name.startswith("mov"))


def _entries_cut_off(video: OpenVideo) -> list[Any]:
    """Return the last entries of an MP4's index that lie past the end of the file."""
    lost: list[Any] = []
    if _has_index(video):
        entries = video.stream.index_entries
        for index in range(len(entries) - 1, -1, -1):
            entry = entries[index]
            if entry.pos + entry.size <= video.size_bytes:
                break
            lost.append(entry)
    return lost


def _with_lost_entries(times: FrameTimes, entries: Sequence[Any], decoding: IntArray, num_lost: int) -> FrameTimes:
    """Add the frames that the index of a file which was cut off still lists.

    The index has decoding times. Put in order, presentation times are the same but for a constant: exactly so at a
    constant rate, and nearly so at a variable one.
    """
    delay = int(times.pts[0]) - int(decoding[0])
    listed = np.array([entry.timestamp for entry in entries if not entry.is_discard], np.int64) + delay
    missing = np.setdiff1d(listed[listed > times.pts[0]], times.pts)[-num_lost:]
    return _with_missing(times, missing)


def _with_lost_duration(times: FrameTimes, video: OpenVideo, location: str) -> FrameTimes:
    """Add the frames that a file which was cut off should still have by the size and duration in its header."""
    declared = declared_size(read_at(location), video.size_bytes)
    duration = video.container.duration
    if declared is None or declared <= video.size_bytes or not duration or times.num_frames < 2:
        return times
    start = video.container.start_time or 0
    end = int(Fraction(start + duration, 1_000_000) / times.time_base)
    gap = max(1, int(np.median(np.diff(times.pts))))
    # A header that lies about both must not fill the memory: the lost part cannot be much denser than the rest.
    most = 20 * times.num_frames * (declared - video.size_bytes) // video.size_bytes + 100
    num_lost = max(0, min((end - times.end) // gap, most))
    return _with_missing(times, times.end + gap * np.arange(num_lost, dtype=np.int64))


def _with_missing(times: FrameTimes, missing: IntArray) -> FrameTimes:
    if len(missing) == 0:
        return times
    pts = np.union1d(times.pts, missing)
    gap = max(1, int(np.median(np.diff(pts))))
    keyframes = np.searchsorted(pts, times.pts[times.keyframes])
    num_available = int(np.searchsorted(pts, missing[0]))
    return FrameTimes(pts, max(int(pts[-1]) + gap, times.end), times.time_base, keyframes, num_available)


def _first_known(time: int | None, other: int | None) -> int:
    return time if time is not None else other if other is not None else 0


def _nominal_rate(stream: Any) -> Fraction:
    for rate in (stream.average_rate, stream.guessed_rate, stream.codec_context.framerate):
        if rate and 0 < rate <= _MAX_RATE:
            return Fraction(rate)
    return _DEFAULT_RATE

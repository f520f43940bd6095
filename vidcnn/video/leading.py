"""Which of the first frames a decoder gives out.

A file that was cut out of a longer one begins with a keyframe. Frames that are coded after it and shown before it may
build on what was cut away. Drawn in decoding order, with the times at which frames are shown::

    I12  B9   B10  B11  P16  B13 ...       first keyframe shown at 12
         -    -    ok                      B9 and B10 build on what came before 12; B11 does not

No header shows this for all codecs: HEVC and VVC have it in the type of a NAL unit, H.264 and MPEG-2 do not. So these
frames are decoded, to see which of them the decoder returns.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import av.error

from vidcnn.video.container import OpenVideo, open_video, read_from_keyframe
from vidcnn.video.packets import frame_counter

MAX_LEADING_PACKETS = 64
"""Frames shown before the first keyframe come right after it, and are fewer: reordering reaches over 16 frames."""

_MAX_COUNTED_PACKETS = 20
"""Packets decoded to find how many of the first frames are lost: more than reordering reaches over."""


def decodable_times(video: OpenVideo, first_keyframe: int, leading: frozenset[int]) -> frozenset[int]:
    """Return which frames that are shown before the first keyframe can be decoded.

    Args:
        video: The video, just opened.
        first_keyframe: Presentation time of the first keyframe.
        leading: Presentation times of packets after it that are shown before it.
    """
    waiting: set[int] = set(leading)
    found: set[int] = set()
    for number, packet in enumerate(read_from_keyframe(video)):
        if packet is None:
            continue
        waiting.discard(packet.pts)
        times = [frame.pts for frame in _decode(video, packet) if frame.pts is not None and not frame.is_corrupt]
        found.update(leading.intersection(times))
        if number > MAX_LEADING_PACKETS or (not waiting and any(time >= first_keyframe for time in times)):
            break
    return frozenset(found)


def num_lost_at_start(location: str, *, max_pixels: int, root: str | None = None) -> int:
    """Return how many of the first frames the decoder never returns, where no times show which these are.

    Args:
        location: Absolute path or URI.
        max_pixels: Largest frame that is decoded.
        root: As for `open_video`.
    """
    num_lost = _MAX_COUNTED_PACKETS
    # Where several frames share a packet, a decoder that is drained in the middle keeps one more to itself.
    for num_packets in range(_MAX_COUNTED_PACKETS, _MAX_COUNTED_PACKETS - 3, -1):
        if num_lost:
            with open_video(location, max_pixels=max_pixels, root=root) as video:
                num_lost = min(num_lost, _num_lost(video, num_packets))
    return num_lost


def _num_lost(video: OpenVideo, num_packets: int) -> int:
    codec = video.stream.codec_context
    starts_frame = frame_counter(codec)
    num_due = num_out = 0
    for packet in read_from_keyframe(video):
        if packet is None or not packet.size:
            continue
        is_start = starts_frame(packet)
        if is_start and num_due == num_packets:
            break
        num_due += is_start
        try:
            num_out += len(video.decode(packet))
        except (av.error.FFmpegError, ValueError):
            num_out += is_start  # a frame that is known to be lost
    with suppress(av.error.FFmpegError, ValueError):
        num_out += len(video.decode(None))
    return max(0, num_due - num_out)


def _decode(video: OpenVideo, packet: Any) -> Iterator[Any]:
    try:
        yield from video.decode(packet)
    except (av.error.FFmpegError, ValueError):
        return

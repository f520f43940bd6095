"""What a stream's headers and the first bytes of a packet show about the frame in it.

Takes PyAV's codec context, returns two answers that libav does not give: which packets make a frame appear, and
whether the decoder may leave out frames that nothing refers to.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vidcnn.video.h264 import FieldPairs
from vidcnn.video.nal import nal_picture_finder

_MAX_EMPTY_BYTES = 1024
"""Packets without a picture are hardly larger; others need not be looked through."""

_PICTURE_START = b"\0\0\1\0"


def frame_counter(codec: Any) -> Callable[[Any], bool]:
    """Return a function that returns, packet by packet in decoding order, whether a new frame appears with it.

    VP8 and VP9 have packets that contain a frame for later reference only; a decoder returns nothing for them. H.264
    may have a frame in two packets, one for each field. And a packet may contain none: the mark of a stream's end,
    filler.

    Args:
        codec: PyAV's codec context of the stream.
    """
    if codec.name in ("vp9", "libvpx-vp9"):
        return lambda packet: _vp9_is_shown(memoryview(packet))
    if codec.name in ("vp8", "libvpx"):
        return lambda packet: bool(memoryview(packet)[0] & 0b1_0000)  # RFC 6386, 9.1: show_frame
    has_picture = picture_finder(codec)
    if codec.name == "h264":
        pairs = FieldPairs(codec.extradata)
        if pairs.are_possible:
            return lambda packet: has_picture(packet) and pairs.starts_frame(packet)
    return has_picture


def picture_finder(codec: Any) -> Callable[[Any], bool]:
    """Return a function that returns whether a packet contains a picture, or a part of one.

    Those that contain none are no fault: a decoder returns nothing for them, or complains.

    Args:
        codec: PyAV's codec context of the stream.
    """
    find = _FINDERS.get(codec.name) or nal_picture_finder(codec)
    if find is None:
        return lambda packet: True
    return lambda packet: packet.size > _MAX_EMPTY_BYTES or find(bytes(packet))


def can_skip_frames(codec: Any) -> bool:
    """Return whether single frames that nothing refers to can be left out of decoding, exactly and at any time.

    Args:
        codec: PyAV's codec context of the stream.
    """
    name, extradata = codec.name, codec.extradata or b""
    if name.startswith("lib"):
        return False  # foreign decoders read libav's setting once, when they are opened
    if name == "h264":
        return not FieldPairs(extradata).are_possible  # a field that nothing refers to may be half of a needed frame
    if name == "hevc":
        # With temporal sub-layers, a frame that its own layer does not refer to may serve a higher one (ITU-T H.265,
        # "sub-layer non-reference picture"). hvcC has how many layers there are (ISO/IEC 14496-15, 8.3.3.1).
        return len(extradata) > 21 and extradata[0] == 1 and extradata[21] >> 3 & 7 == 1
    return True


def _vp9_is_shown(data: memoryview) -> bool:
    """Read show_existing_frame and show_frame (VP9 bitstream specification, 6.2)."""
    if data[-1] & 0b1110_0000 == 0b1100_0000:
        return True  # a superframe: its last frame is a shown one
    bits = format(data[0], "08b") + (format(data[1], "08b") if len(data) > 1 else "00000000")
    if bits[:2] != "10":
        return True  # not VP9, or encrypted: for the decoder to complain about
    profile = int(bits[3]) * 2 + int(bits[2])
    position = 5 if profile == 3 else 4
    show_existing_frame = bits[position] == "1"
    show_frame = bits[position + 2] == "1"
    return show_existing_frame or show_frame


def _dirac_has_picture(data: bytes) -> bool:
    """Look for a picture among the parse units (Dirac specification 2.2.3, 9.6; SMPTE ST 2042-1, 10.5)."""
    position = 0
    while data[position : position + 4] == b"BBCD" and position + 13 <= len(data):
        if data[position + 4] & 8:
            return True
        length = int.from_bytes(data[position + 5 : position + 9], "big")
        if length == 0:
            return False
        position += length
    return position < len(data)  # what is no parse unit is for the decoder to complain about


def _gif_has_picture(data: bytes) -> bool:
    """Look for an image behind extensions (GIF89a specification, appendix A)."""
    position = 0
    while data[position : position + 1] == b"!" and position + 2 < len(data):
        position += 2
        while position < len(data) and data[position]:
            position += 1 + data[position]
        position += 1
    return position < len(data) and data[position] != ord(";")


_FINDERS: dict[str, Callable[[bytes], bool]] = {
    "dirac": _dirac_has_picture,
    "gif": _gif_has_picture,
    "mpeg1video": lambda data: _PICTURE_START in data,  # ISO/IEC 13818-2, table 6-1
    "mpeg2video": lambda data: _PICTURE_START in data,
}

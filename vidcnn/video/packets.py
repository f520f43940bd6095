"""What the first bytes of a packet say about the frame in it."""

from __future__ import annotations

from typing import Any


def is_shown(codec: str, packet: Any) -> bool:
    """Tell whether a packet makes a frame appear on screen.

    VP8 and VP9 have packets that hold a frame for later reference only; a decoder gives nothing out for them.

    Args:
        codec: libav's name of the decoder.
        packet: A PyAV packet with data.
    """
    if codec in ("vp9", "libvpx-vp9"):
        return _vp9_is_shown(memoryview(packet))
    if codec in ("vp8", "libvpx"):
        return bool(memoryview(packet)[0] & 0b1_0000)  # RFC 6386, 9.1: show_frame
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

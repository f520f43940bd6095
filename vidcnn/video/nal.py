"""NAL units: the pieces that packets of H.264, HEVC and VVC consist of.

In goes a packet, out comes what kinds of units it has. Units follow start codes in streams (Annex B of ITU-T H.264, H.265
and H.266), and lengths in MP4 and Matroska (ISO/IEC 14496-15).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_START_CODE = b"\0\0\1"
_START_CODES = (_START_CODE, b"\0" + _START_CODE)


def picture_finder(codec: Any) -> Callable[[bytes], bool] | None:
    """Return a function that tells whether a packet holds any part of a picture, or None for other codecs.

    Packets without one hold parameters, messages, filler or the mark of a stream's end: no frame appears with them.

    Args:
        codec: PyAV's codec context of the stream.
    """
    is_part = _PARTS.get(codec.name)
    if is_part is None:
        return None
    extradata = codec.extradata or b""
    is_stream = extradata == b"" or extradata.startswith(_START_CODES)
    length_bytes = 0 if is_stream else _length_bytes(codec.name, extradata)

    def has_picture(data: bytes) -> bool:
        heads = _heads_by_length(data, length_bytes) if length_bytes else _heads_by_start_code(data)
        return heads is None or any(is_part(head) for head in heads)

    return has_picture


def _heads_by_start_code(data: bytes) -> list[bytes] | None:
    """Return the first two bytes of each unit, or None where there are none to be found."""
    if not data.startswith(_START_CODES):
        return None
    units = data.split(_START_CODE)[1:]
    return [unit[:2] for unit in units if len(unit) > 1]


def _heads_by_length(data: bytes, length_bytes: int) -> list[bytes] | None:
    """Return the first two bytes of each unit, or None where lengths do not add up."""
    heads = []
    position = 0
    while position < len(data):
        start = position + length_bytes
        position = start + int.from_bytes(data[position:start], "big")
        if position > len(data):
            return None
        if position > start + 1:
            heads.append(data[start : start + 2])
    return heads


def _length_bytes(name: str, extradata: bytes) -> int:
    """Return how many bytes a unit's length has (ISO/IEC 14496-15, 5.3.3.1, 8.3.3.1 and 11.2.4.2)."""
    place = {"h264": 4, "hevc": 21}.get(name)
    if place is None:
        return (extradata[0] >> 1 & 3) + 1
    return (extradata[place] & 3) + 1 if len(extradata) > place else 4


_PARTS: dict[str, Callable[[bytes], bool]] = {
    "h264": lambda head: 1 <= head[0] & 31 <= 5,  # table 7-1
    "hevc": lambda head: head[0] >> 1 & 63 < 32,  # H.265, table 7-1: VCL NAL units
    "vvc": lambda head: head[1] >> 3 < 12,  # H.266, table 5
}

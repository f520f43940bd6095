"""NAL units: the pieces that packets of H.264, HEVC and VVC consist of.

Takes a packet, returns what kinds of units it has. Units follow start codes in streams (Annex B of ITU-T H.264,
H.265 and H.266), and lengths in MP4 and Matroska (ISO/IEC 14496-15).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_START_CODE = b"\0\0\1"
_START_CODES = (_START_CODE, b"\0" + _START_CODE)


def nal_picture_finder(codec: Any) -> Callable[[bytes], bool] | None:
    """Return a function that returns whether a packet contains any part of a picture, or None for other codecs.

    Packets without one contain parameters, messages, filler or the mark of a stream's end.

    Args:
        codec: PyAV's codec context of the stream.
    """
    unit_type = _UNIT_TYPES.get(codec.name)
    if unit_type is None:
        return None
    empty = _EMPTY_TYPES[codec.name]
    extradata = codec.extradata or b""
    is_stream = extradata == b"" or extradata.startswith(_START_CODES)
    length_bytes = 0 if is_stream else _length_bytes(codec.name, extradata)

    def has_picture(data: bytes) -> bool:
        first = data[length_bytes : length_bytes + 2]  # nearly always of a picture
        if length_bytes and len(first) == 2 and any(data[:length_bytes]) and unit_type(first) not in empty:
            return True
        heads = _heads_by_length(data, length_bytes) if length_bytes else _heads_by_start_code(data)
        return not heads or any(unit_type(head) not in empty for head in heads)

    return has_picture


def _heads_by_start_code(data: bytes) -> list[bytes] | None:
    """Return the first two bytes of each unit, or None where there are none to be found."""
    if not data.startswith(_START_CODES):
        return None
    units = data.split(_START_CODE)[1:]
    return [(unit + b"\0")[:2] for unit in units if unit]  # the mark of a stream's end is a single byte


def _heads_by_length(data: bytes, length_bytes: int) -> list[bytes] | None:
    """Return the first two bytes of each unit, or None where lengths do not add up."""
    heads = []
    position = 0
    while position < len(data):
        start = position + length_bytes
        position = start + int.from_bytes(data[position:start], "big")
        if position > len(data):
            return None
        if position > start:
            heads.append((data[start:position] + b"\0")[:2])
    return heads


def _length_bytes(name: str, extradata: bytes) -> int:
    """Return how many bytes a unit's length has (ISO/IEC 14496-15, 5.3.3.1, 8.3.3.1 and 11.2.4.2)."""
    place = {"h264": 4, "hevc": 21}.get(name)
    if place is None:
        return (extradata[0] >> 1 & 3) + 1
    return (extradata[place] & 3) + 1 if len(extradata) > place else 4


_UNIT_TYPES: dict[str, Callable[[bytes], int]] = {
    "h264": lambda head: head[0] & 31,
    "hevc": lambda head: head[0] >> 1 & 63,
    "vvc": lambda head: head[1] >> 3,
}
_EMPTY_TYPES = {  # what is known to be no part of a picture; a unit of another type may be one, or lead to one
    "h264": range(6, 14),  # H.264, table 7-1
    "hevc": range(32, 41),  # H.265, table 7-1
    "vvc": (*range(12, 19), *range(20, 26)),  # H.266, table 5; 19 is a picture's header
}

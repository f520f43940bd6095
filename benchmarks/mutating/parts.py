"""The parts that a file is made of: boxes, elements, packets, chunks; found by their lengths, where these are sound."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

MAX_PARTS = 4000
_BOXES_WITH_BOXES = {b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"dinf", b"moof", b"traf", b"mvex", b"udta"}
_MASTERS = {0x18538067, 0x1F43B675, 0x1654AE6B, 0xAE, 0xE0, 0x1549A966, 0x1C53BB6B, 0x114D9B74, 0x1A45DFA3, 0xBB}
"""Elements of Matroska that contain elements (RFC 9559): Segment, Cluster, Tracks, TrackEntry, Video, ..."""
_TS_BYTES = 188


class Part(NamedTuple):
    """Some bytes of a file.

    Attributes:
        start: Where they begin.
        end: Where they end.
        body: Where what they contain begins.
        parent: Number of the part that they are directly in; -1 for the file.
    """

    start: int
    end: int
    body: int
    parent: int


def parts_of(data: bytes) -> list[Part]:
    """Return the parts of a file, at most `MAX_PARTS`; none where its kind is not known."""
    found: list[Part] = []
    for part in _parts(data):
        found.append(part)
        if len(found) == MAX_PARTS:
            break
    return found


def _parts(data: bytes) -> Iterator[Part]:
    if data[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
        yield from _boxes(data, 0, len(data), -1, [0])
    elif data[:4] == b"\x1a\x45\xdf\xa3":
        yield from _elements(data, 0, len(data), -1, [0])
    elif data[:4] == b"RIFF":
        yield from _chunks(data, 12, len(data), -1, [0])
    elif data[:1] == b"G" and data[_TS_BYTES : _TS_BYTES + 1] == b"G":
        for start in range(0, len(data) - _TS_BYTES + 1, _TS_BYTES):
            yield Part(start, start + _TS_BYTES, start + 4, -1)
    elif data[:3] == b"FLV":
        yield from _tags(data)
    elif data[:3] in (b"\0\0\1", b"\0\0\0"):
        starts = [*_start_codes(data), len(data)]
        for start, end in pairwise(starts):
            yield Part(start, end, min(start + 4, end), -1)


def _boxes(data: bytes, start: int, end: int, parent: int, count: list[int]) -> Iterator[Part]:
    while start + 8 <= end:
        size, kind = struct.unpack_from(">I4s", data, start)
        stop = end if size == 0 else start + size
        if size == 1 or stop > end or stop < start + 8:
            return
        number = count[0]
        count[0] += 1
        yield Part(start, stop, start + 8, parent)
        if kind in _BOXES_WITH_BOXES:
            yield from _boxes(data, start + 8, stop, number, count)
        start = stop


def _elements(data: bytes, start: int, end: int, parent: int, count: list[int]) -> Iterator[Part]:
    while start + 2 <= end:
        kind, at = _number(data, start, keeps_marker=True)
        size, body = _number(data, at, keeps_marker=False)
        if kind < 0 or size < 0:
            return
        stop = min(end, body + size)
        number = count[0]
        count[0] += 1
        yield Part(start, stop, body, parent)
        if kind in _MASTERS:
            yield from _elements(data, body, stop, number, count)
        start = stop


def _number(data: bytes, at: int, *, keeps_marker: bool) -> tuple[int, int]:
    """Read a number of EBML (RFC 8794, 4), and return it with where it ends; -1 where there is none."""
    if at >= len(data) or not data[at]:
        return -1, at
    length = 9 - data[at].bit_length()
    raw = int.from_bytes(data[at : at + length], "big")
    return raw if keeps_marker else raw & ((1 << 7 * length) - 1), at + length


def _chunks(data: bytes, start: int, end: int, parent: int, count: list[int]) -> Iterator[Part]:
    while start + 8 <= end:
        kind, size = struct.unpack_from("<4sI", data, start)
        stop = min(end, start + 8 + size + size % 2)
        number = count[0]
        count[0] += 1
        yield Part(start, stop, start + 8, parent)
        if kind == b"LIST":
            yield from _chunks(data, start + 12, stop, number, count)
        start = stop


def _tags(data: bytes) -> Iterator[Part]:
    start = 9
    while start + 15 <= len(data):
        stop = start + 4 + 11 + int.from_bytes(data[start + 5 : start + 8], "big")
        if stop > len(data):
            return
        yield Part(start, stop, start + 15, -1)
        start = stop


def _start_codes(data: bytes) -> Iterator[int]:
    at = data.find(b"\0\0\1")
    while at >= 0:
        yield at
        at = data.find(b"\0\0\1", at + 3)

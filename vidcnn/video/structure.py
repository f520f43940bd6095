"""What a file's own boxes declare, where libav does not show it.

Three questions that decide an error's kind: is it a playlist that makes libav open other files, was it cut off, and how
long is the file by its container? Each reads some bytes at known places.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

ReadAt = Callable[[int, int], bytes]
"""``read(offset, length)``: bytes of the file, fewer at its end."""

_PLAYLISTS = (
    (b"ffconcat version", "an ffconcat script"),
    (b"#EXTM3U", "an HLS playlist"),
    (b"<MPD", "a DASH manifest"),
    (b"[playlist]", "a playlist"),
    (b"[Reference]", "a reference file"),
    (b"v=0", "a session description (SDP)"),
    (b"RTSPtext", "a reference to a stream"),
)
_TOP_LEVEL_BOXES = {b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"styp", b"moof", b"uuid"}


def find_playlist(read: ReadAt) -> str | None:
    """Return what kind of playlist a file is, or None when it is none."""
    head = read(0, 4096).lstrip(b"\xef\xbb\xbf \t\r\n")
    for signature, name in _PLAYLISTS:
        if head.startswith(signature):
            return name
    return "a DASH manifest" if head.startswith(b"<?xml") and b"<MPD" in head else None


def explain_cut(read: ReadAt, size_bytes: int) -> str | None:
    """Return how a file's structure shows that it was cut off, or None where it does not.

    Known for MP4 and QuickTime, and for the files of which `declared_size` is known.
    """
    kinds = []
    for kind, end in _boxes(read, size_bytes):
        kinds.append(kind)
        if end > size_bytes:
            return f"the file was cut off: its '{kind.decode('latin-1')}' box ends at byte {end} of {size_bytes}"
    if kinds and not {b"moov", b"moof", b"meta"} & set(kinds):
        return "the file has no index ('moov' box): it was cut off, or its recording was not finished"
    declared = declared_size(read, size_bytes)
    if declared is not None and declared > size_bytes:
        return f"the file was cut off: it has {size_bytes} of {declared} bytes"
    return None


def declared_size(read: ReadAt, size_bytes: int) -> int | None:
    """Return how many bytes the file has by its container, or None where that has no size.

    Known for Matroska and WebM (EBML's Segment), for AVI (its RIFF chunks), and for FLV if its metadata have it.
    """
    head = read(0, 4096)
    if head[:3] == b"FLV":
        return _flv_size(head)
    if head[:4] == b"\x1a\x45\xdf\xa3":
        return _ebml_size(head)
    if head[:4] == b"RIFF" and head[8:12] in (b"AVI ", b"AVIX"):
        (length,) = struct.unpack("<I", head[4:8])
        # A file that is still being written has 0; one past 1 GiB continues in further RIFF chunks.
        return 8 + length if 0 < length < 2**30 else None
    return None


def is_animated_webp(read: ReadAt) -> bool:
    """Return whether a file is a WebP with several images (WebP Container Specification, VP8X)."""
    head = read(0, 21)
    return head[:4] == b"RIFF" and head[8:16] == b"WEBPVP8X" and len(head) == 21 and bool(head[20] & 2)


def _boxes(read: ReadAt, size_bytes: int) -> Iterator[tuple[bytes, int]]:
    """Yield the type and the end of each top-level box of an ISO base media file (ISO/IEC 14496-12, 4.2)."""
    offset = 0
    for _ in range(1000):
        header = read(offset, 16)
        if len(header) < 8:
            return
        (size,), kind = struct.unpack(">I", header[:4]), header[4:8]
        if offset == 0 and kind not in _TOP_LEVEL_BOXES:
            return
        if size == 1 and len(header) == 16:
            (size,) = struct.unpack(">Q", header[8:16])
        end = size_bytes if size == 0 else offset + size
        yield kind, end
        if end <= offset + 7 or end >= size_bytes:
            return
        offset = end


def _flv_size(head: bytes) -> int | None:
    """Return the number ``filesize`` in the script tag ``onMetaData`` (Adobe's FLV specification 10.1, E.5)."""
    _, found, value = head.partition(b"\x00\x08filesize\x00")
    if not found or len(value) < 8:
        return None
    (size,) = struct.unpack(">d", value[:8])
    return int(size) if 0 < size < 2**53 else None


def _ebml_size(head: bytes) -> int | None:
    """Return where EBML's Segment element ends (RFC 8794, 4: variable-size integers)."""
    header = _vint(head, 4)
    if header is None:
        return None
    position = header[1] + header[0]
    if head[position : position + 4] != b"\x18\x53\x80\x67":
        return None
    segment = _vint(head, position + 4)
    if segment is None:
        return None
    length, start = segment
    width = start - position - 4
    unknown = (1 << (7 * width)) - 1
    return None if length == unknown else start + length


def _vint(data: bytes, position: int) -> tuple[int, int] | None:
    """Return the value of a variable-size integer and the position after it."""
    if position >= len(data) or data[position] == 0:
        return None
    width = 9 - data[position].bit_length()
    if position + width > len(data):
        return None
    value = int.from_bytes(data[position : position + width], "big") & ((1 << (7 * width)) - 1)
    return value, position + width

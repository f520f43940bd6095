"""Small files that claim much: made by bytes, for tests of limits."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path


def write_gif(path: Path, width: int, height: int, num_frames: int) -> Path:
    """Write a GIF of large frames in which one pixel changes: some 24 bytes for each frame."""
    data = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    for _ in range(num_frames):
        data += b"\x21\xf9\x04\x04\x0a\0\0\0"  # shown for a tenth of a second, and left on screen
        data += b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0)
        data += b"\x02\x02\x4c\x01\0"  # LZW: clear, one pixel, end
    path.write_bytes(data + b"\x3b")
    return path


def box(kind: bytes, *content: bytes) -> bytes:
    """Return a box of an ISO base media file (ISO/IEC 14496-12, 4.2)."""
    body = b"".join(content)
    return struct.pack(">I", 8 + len(body)) + kind + body


def full_box(kind: bytes, *values: int, flags: int = 0) -> bytes:
    """Return a box with version 0, flags, and numbers of 32 bits."""
    return box(kind, struct.pack(f">{1 + len(values)}I", flags, *values))


_MATRIX = (0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
_ENTRY = struct.pack(">6xH16xHHIIIH32xHh", 1, 64, 64, 72 << 16, 72 << 16, 0, 1, 24, -1)
_HEAD = box(b"ftyp", b"isom\0\0\2\0isom")


def mp4(
    frames: Sequence[bytes],
    *,
    durations: Sequence[tuple[int, int]],
    sizes: bytes | None = None,
    samples_per_chunk: int | None = None,
    edits: Sequence[tuple[int, int]] = (),
    num_tracks: int = 1,
    declared: int | None = None,
) -> bytes:
    """Return an MP4 of JPEG frames with the tables that are given, in a timescale of 1000.

    Args:
        frames: What is in it.
        durations: The table of durations: (count, milliseconds).
        sizes: The content of the table of sizes, instead of the right one.
        samples_per_chunk: How many frames the only chunk claims to contain, instead of all.
        edits: The edit list: (milliseconds, where they begin).
        num_tracks: How many tracks there are, all with the same frames.
        declared: The duration in milliseconds, instead of the sum of `durations`.
    """
    total = sum(count * each for count, each in durations) if declared is None else declared
    total = min(total, 2**32 - 1)
    content = box(b"mdat", *frames)
    right_sizes = struct.pack(f">II{len(frames)}I", 0, len(frames), *map(len, frames))
    tables = (
        box(b"stsd", struct.pack(">II", 0, 1), box(b"jpeg", _ENTRY)),
        full_box(b"stts", len(durations), *(number for pair in durations for number in pair)),
        full_box(b"stsc", 1, 1, samples_per_chunk or len(frames), 1),
        box(b"stsz", bytes(4), right_sizes if sizes is None else sizes),
        full_box(b"stco", 1, len(_HEAD) + 8),
    )
    edit_list = full_box(b"elst", len(edits), *(n for length, at in edits for n in (length, at, 0x10000)))
    track = _track(total, box(b"edts", edit_list) if edits else b"", tables)
    return _HEAD + content + box(b"moov", _movie(total), *[track] * num_tracks)


def fragmented_mp4(num_frames: int, num_tracks: int = 1) -> bytes:
    """Return an MP4 with a fragment for each track that claims to contain frames of one byte, and lists none."""
    tables = (
        box(b"stsd", struct.pack(">II", 0, 1), box(b"jpeg", _ENTRY)),
        *(full_box(kind, 0) for kind in (b"stts", b"stsc", b"stco")),
        full_box(b"stsz", 0, 0),
    )
    numbers = range(1, num_tracks + 1)
    extended = box(b"mvex", *(full_box(b"trex", number, 1, 40, 1, 0) for number in numbers))
    movie = box(b"moov", _movie(0), *(_track(0, b"", tables, number) for number in numbers), extended)
    runs = [box(b"traf", full_box(b"tfhd", n, flags=0x20000), full_box(b"trun", num_frames)) for n in numbers]
    return _HEAD + movie + box(b"moof", full_box(b"mfhd", 1), *runs) + box(b"mdat", bytes(4000))


def _movie(duration: int) -> bytes:
    return full_box(b"mvhd", 0, 0, 1000, duration, 0x10000, 0x1000000, 0, 0, *_MATRIX, 0, 0, 0, 0, 0, 0, 2)


def _track(duration: int, edits: bytes, tables: Sequence[bytes], number: int = 1) -> bytes:
    return box(
        b"trak",
        full_box(b"tkhd", 0, 0, number, 0, duration, 0, 0, 0, 0, *_MATRIX, 64 << 16, 64 << 16, flags=3),
        edits,
        box(
            b"mdia",
            full_box(b"mdhd", 0, 0, 1000, duration, 0x55C40000),
            box(b"hdlr", struct.pack(">II4s12xB", 0, 0, b"vide", 0)),
            box(
                b"minf",
                full_box(b"vmhd", 0, 0, flags=1),
                box(b"dinf", box(b"dref", struct.pack(">II", 0, 1), full_box(b"url ", flags=1))),
                box(b"stbl", *tables),
            ),
        ),
    )

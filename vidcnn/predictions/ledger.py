"""Which segments of which videos a table contains.

A *ledger* maps the name of a video to an `Entry`: the version of the video (size and modification time), the
number of segments its plan has, and which of them are there. Every file of predictions carries the ledger of
its own rows, so that what is done can only be read from what is committed. Pure functions; no files.

How it is stored is in `vidcnn.predictions.section`. In files of earlier versions it is compressed JSON, by columns,
as base64, which `decode` reads.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import zlib
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from vidcnn.sources.keys import SegmentKey, VideoKey

MAX_SEGMENTS = 2**24
"""Segments of a video: each has a clip at least, and no video is planned with more clips than this."""
_MAX_BYTES = 2**32
"""Size of a ledger as earlier versions stored it, when it is decompressed: that of tens of millions of videos."""


class Entry(NamedTuple):
    """What a table contains of one version of a video.

    `segments` is a set as bits: bit *i* is segment *i*. `files` are the files that contain the rows; it
    is not stored. A tuple, because many of them must fit in memory.
    """

    size_bytes: int
    mtime_ns: int
    num_segments: int
    segments: int
    num_rows: int
    files: tuple[str, ...] = ()

    @property
    def is_complete(self) -> bool:
        """Whether every segment of the plan is there."""
        return self.segments == (1 << self.num_segments) - 1

    def is_of(self, video: VideoKey) -> bool:
        """Return whether this is the given version of the video."""
        return self.size_bytes == video.size_bytes and self.mtime_ns == video.mtime_ns

    def is_same_plan(self, other: Entry) -> bool:
        """Return whether both are of one version of a video, planned with the same number of segments."""
        return self[:3] == other[:3]

    def fits(self, other: Entry) -> bool:
        """Return whether the two can be joined: they are other segments of the same plan."""
        return self.is_same_plan(other) and not self.segments & other.segments

    def union(self, other: Entry) -> Entry:
        """Join two disjoint sets of segments of the same plan."""
        assert self.fits(other)
        return Entry(
            *self[:3],
            segments=self.segments | other.segments,
            num_rows=self.num_rows + other.num_rows,
            files=self.files if self.files == other.files else self.files + other.files,
        )


Ledger = dict[str, Entry]
"""From the name of a video, as `video_text` writes it, to what is there of it."""


def entry_of(segment: SegmentKey, num_rows: int) -> Entry:
    """Make the entry that contains one segment only."""
    video = segment.video
    return Entry(video.size_bytes, video.mtime_ns, segment.count, 1 << segment.index, num_rows)


def include(ledger: Ledger, other: Mapping[str, Entry]) -> set[str]:
    """Add what another file contains to a ledger, in place.

    Returns:
        Names of which both contain different versions or plans, or the same segment: nobody can know which rows
        are right. Their entries list the files of both.
    """
    conflicts = set()
    for name, entry in other.items():
        held = ledger.get(name)
        if held is None:
            ledger[name] = entry
        elif held.fits(entry):
            ledger[name] = held.union(entry)
        else:
            conflicts.add(name)
            ledger[name] = held._replace(files=held.files + entry.files)
    return conflicts


def overlay(held: Entry | None, newer: Entry | None) -> Entry | None:
    """Join what is there of a video with what a newer file contains: where the two contradict, the newer one counts."""
    if held is None or newer is None:
        return newer or held
    return held.union(newer) if held.fits(newer) else newer


def digest(ledger: Mapping[str, Entry]) -> str:
    """Name a set of segments: 20 hexadecimal digits that depend on the segments' keys alone."""
    keys = [[name, *ledger[name][:3], hex(ledger[name].segments)] for name in sorted(ledger)]
    return hashlib.sha256(_json(keys).encode()).hexdigest()[:20]


def decode(text: str | bytes, *, file: str) -> Ledger:
    """Read a ledger as earlier versions stored it.

    Args:
        text: The stored form.
        file: The file it was read from; every entry names it.

    Raises:
        ValueError: The text is not a ledger.
    """
    try:
        columns = json.loads(_decompressed(base64.b64decode(text)))
        files = (file,)
        rows = zip(*(columns[field] for field in ("video", *Entry._fields[:5])), strict=True)
        return {
            name: Entry(size, mtime, count, held_bits(count, held), num_rows, files)
            for name, size, mtime, count, held, num_rows in rows
        }
    except (KeyError, TypeError, RecursionError, zlib.error) as error:
        raise ValueError(f"not a ledger of segments: {error}") from error


def segment_indexes(segments: int) -> frozenset[int]:
    """Return a set of segments, given as bits, as their indexes."""
    return frozenset(index for start, end in intervals_of(segments) for index in range(start, end))


def intervals_of(segments: int) -> list[tuple[int, int]]:
    """Return the runs of set bits as half-open intervals: 0b1011 is ``[(0, 2), (3, 4)]``."""
    return [run.span() for run in re.finditer("1+", format(segments, "b")[::-1])]


def held_bits(num_segments: int, intervals: Iterable[tuple[int, int]] | None) -> int:
    """Return which segments of a plan a table contains, as bits.

    Args:
        num_segments: Segments of the plan.
        intervals: Those that are there, as `intervals_of` returns them; None for all.

    Raises:
        ValueError: There are more segments than any plan has, or some are not of the plan.
    """
    if not 0 < num_segments <= MAX_SEGMENTS:
        raise ValueError(f"a plan of {num_segments} segments, which must be in [1, {MAX_SEGMENTS}]")
    if intervals is None:
        return (1 << num_segments) - 1
    kept = list(intervals)
    if any(not 0 <= start < end <= num_segments for start, end in kept):
        raise ValueError(f"segments that are not among the {num_segments} of their plan")
    return bits_of(kept)


def bits_of(intervals: Iterable[tuple[int, int]]) -> int:
    """Undo `intervals_of`."""
    bits = 0
    for start, end in intervals:
        bits |= (1 << end) - (1 << start)
    return bits


def _decompressed(data: bytes) -> bytes:
    inflater = zlib.decompressobj()
    content = inflater.decompress(data, _MAX_BYTES)
    if not inflater.eof:
        raise ValueError("not a ledger of segments: it is cut off, or too large")
    return content


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))

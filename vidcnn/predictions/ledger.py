"""Which segments of which videos are held: in memory, and in the metadata of each file of predictions.

A *ledger* maps the name of a video to an `Entry`: the version of the video (size and modification time), the
number of segments its plan has, and which of them are held. Every file of predictions carries the ledger of
its own rows, so that what is done can only be read from what is committed. Pure functions; no files.

The stored form is compressed JSON, by columns, as base64: about 25 bytes for each video.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from vidcnn.sources.names import readable_name


@dataclass(frozen=True)
class VideoKey:
    """One version of a video.

    Args:
        name: URI, or path relative to the source's root; may hold surrogate escapes.
        size_bytes: Its size.
        mtime_ns: Its modification time, in nanoseconds since the epoch.
    """

    name: str
    size_bytes: int
    mtime_ns: int


@dataclass(frozen=True)
class SegmentKey:
    """Segment `index` of the `count` that the plan of a video has; the unit of commit.

    Raises:
        ValueError: The index is not in ``[0, count)``.
    """

    video: VideoKey
    index: int
    count: int

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise ValueError(f"segment index ({self.index}) must be in [0, {self.count})")


class Entry(NamedTuple):
    """What is held of one version of a video.

    `segments` is a set as bits: bit *i* stands for segment *i*. `files` are the files that hold the rows; it
    is not stored. A tuple, because a million of them must fit in memory.
    """

    size_bytes: int
    mtime_ns: int
    num_segments: int
    segments: int
    num_rows: int
    files: tuple[str, ...] = ()

    @property
    def is_complete(self) -> bool:
        """Whether every segment of the plan is held."""
        return self.segments == (1 << self.num_segments) - 1

    def is_of(self, video: VideoKey) -> bool:
        """Tell whether this is the given version of the video."""
        return self.size_bytes == video.size_bytes and self.mtime_ns == video.mtime_ns

    def is_same_plan(self, other: Entry) -> bool:
        """Tell whether both are of one version of a video, planned with the same number of segments."""
        return self[:3] == other[:3]

    def union(self, other: Entry) -> Entry:
        """Join two disjoint sets of segments of the same plan."""
        assert self.is_same_plan(other)
        assert not self.segments & other.segments
        return Entry(
            *self[:3],
            segments=self.segments | other.segments,
            num_rows=self.num_rows + other.num_rows,
            files=self.files if self.files == other.files else self.files + other.files,
        )


Ledger = dict[str, Entry]
"""From the name of a video, as `video_text` writes it, to what is held of it."""


def video_text(name: str) -> str:
    """Return a video's name as the table has it: `vidcnn.sources.names.utf8_name` has written it down already."""
    return readable_name(name)


def entry_of(segment: SegmentKey, num_rows: int) -> Entry:
    """Make the entry that holds one segment only."""
    video = segment.video
    return Entry(video.size_bytes, video.mtime_ns, segment.count, 1 << segment.index, num_rows)


def include(ledger: Ledger, other: Mapping[str, Entry]) -> set[str]:
    """Add what another file holds to a ledger, in place.

    Returns:
        Names of which both hold different versions or plans, or the same segment: nobody can tell which rows
        are right. Their entries list the files of both.
    """
    conflicts = set()
    for name, entry in other.items():
        held = ledger.get(name)
        if held is None:
            ledger[name] = entry
        elif held.is_same_plan(entry) and not held.segments & entry.segments:
            ledger[name] = held.union(entry)
        else:
            conflicts.add(name)
            ledger[name] = held._replace(files=held.files + entry.files)
    return conflicts


def overlay(ledger: Mapping[str, Entry], newer: Mapping[str, Entry]) -> Ledger:
    """Join a ledger with a newer one: where they cannot both hold, the newer one does."""
    joined = dict(ledger)
    for name, entry in newer.items():
        held = joined.get(name)
        fits = held is not None and held.is_same_plan(entry) and not held.segments & entry.segments
        joined[name] = held.union(entry) if held is not None and fits else entry
    return joined


def covers(ledger: Mapping[str, Entry], part: Mapping[str, Entry]) -> bool:
    """Tell whether a ledger holds every segment that a part holds."""
    for name, entry in part.items():
        held = ledger.get(name)
        if held is None or not held.is_same_plan(entry) or entry.segments & ~held.segments:
            return False
    return True


def digest(ledger: Mapping[str, Entry]) -> str:
    """Name a set of segments: 20 hexadecimal digits that depend on the segments' keys alone."""
    keys = [[name, *ledger[name][:3], hex(ledger[name].segments)] for name in sorted(ledger)]
    return hashlib.sha256(_json(keys).encode()).hexdigest()[:20]


def encode(ledger: Mapping[str, Entry]) -> str:
    """Write a ledger, without its files, as text for a file's metadata."""
    names = sorted(ledger)
    entries = [ledger[name] for name in names]
    columns = {
        "video": names,
        "size_bytes": [entry.size_bytes for entry in entries],
        "mtime_ns": [entry.mtime_ns for entry in entries],
        "num_segments": [entry.num_segments for entry in entries],
        # Almost every video is complete: null says so.
        "segments": [None if entry.is_complete else _intervals(entry.segments) for entry in entries],
        "num_rows": [entry.num_rows for entry in entries],
    }
    return base64.b64encode(zlib.compress(_json(columns).encode())).decode()


def decode(text: str | bytes, *, file: str) -> Ledger:
    """Read what `encode` wrote.

    Args:
        text: The stored form.
        file: The file it was read from; every entry names it.

    Raises:
        ValueError: The text is not a ledger.
    """
    try:
        columns = json.loads(zlib.decompress(base64.b64decode(text)))
        files = (file,)
        rows = zip(*(columns[field] for field in ("video", *Entry._fields[:5])), strict=True)
        return {
            name: Entry(size, mtime, count, (1 << count) - 1 if held is None else _bits(held), num_rows, files)
            for name, size, mtime, count, held, num_rows in rows
        }
    except (KeyError, TypeError, zlib.error) as error:
        raise ValueError(f"not a ledger of segments: {error}") from error


def segment_indexes(segments: int) -> frozenset[int]:
    """Return a set of segments, given as bits, as their indexes."""
    return frozenset(index for start, end in _intervals(segments) for index in range(start, end))


def _intervals(segments: int) -> list[tuple[int, int]]:
    """Return the runs of set bits as half-open intervals: 0b1011 is ``[(0, 2), (3, 4)]``."""
    return [run.span() for run in re.finditer("1+", format(segments, "b")[::-1])]


def _bits(intervals: Iterable[tuple[int, int]]) -> int:
    """Undo `_intervals`."""
    bits = 0
    for start, end in intervals:
        bits |= (1 << end) - (1 << start)
    return bits


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))

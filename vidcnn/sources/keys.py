"""What a version of a video and a segment of it are known by, in plans and in the table of predictions."""

from __future__ import annotations

from dataclasses import dataclass

from vidcnn.sources.names import readable_name


@dataclass(frozen=True)
class VideoKey:
    """One version of a video.

    Args:
        name: URI, or path relative to the source's root; may contain surrogate escapes.
        size_bytes: Size of the file when it was listed.
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


def video_text(name: str) -> str:
    """Return a video's name as it is in the table, which `vidcnn.sources.names.utf8_name` has made."""
    return readable_name(name)

"""Videos that may still be written: cameras and copying programs leave files that grow."""

from __future__ import annotations

from vidcnn.sources.listing import SourceVideo
from vidcnn.storage.uris import is_remote


def is_settling(video: SourceVideo, settle_seconds: float, now_ns: int) -> bool:
    """Return whether a video was written so short a time ago that it may still be written.

    Objects in object storage appear whole, so they never are. A modification time in the future is as near to now as
    one in the past: a clock that is a little ahead delays a video, one that is far ahead does not keep it forever.

    Args:
        video: What was listed; the time of a frame folder is that of its newest frame.
        settle_seconds: How long a video must have been left alone.
        now_ns: Time in nanoseconds since 1970.
    """
    return not is_remote(video.location) and abs(now_ns - video.mtime_ns) < settle_seconds * 1e9

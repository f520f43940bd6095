"""How much a file may ask for, whatever it claims.

Takes what a file declares and how many bytes it has, returns bounds, and raises a `VideoError` where a file is beyond
them. Recordings stay far below; files that are made to fill memory or to keep processors busy do not.
"""

from __future__ import annotations

import re

from vidcnn.errors import VideoError

MAX_STREAMS = 256
"""Streams in a file. All programs of a broadcaster's whole multiplex are fewer."""

PROBE_BYTES = 5_000_000
"""How much of a file libav reads to learn what is in it."""

MAX_RESIZED_PIXELS = 4096 * 4096
"""Pixels of a frame after resizing. A strip of one line, scaled to a height of 128, would be 128 times as long."""

_GROWN_PIXELS = 4096 * 4096
_GROWTH = 16
"""Frames may become this many times as large as the first ones, and any may become as large as `_GROWN_PIXELS`."""

_FREE_PIXELS = 2**28
_PIXELS_PER_BYTE = 2**19
"""A black film of any length, in the densest of codecs, has fewer for each byte of its file."""

_LARGE_PIXELS = 4096 * 2048
"""Larger frames count for more than their pixels: they also take more memory."""

_FREE_ENTRIES = 4096
_ENTRY_BYTES = 4
"""What the size of a frame alone takes in the index of an MP4."""

NO_MEMORY = "decoding it takes more memory than there is"

_OUT_OF_MEMORY = {"cv2": "Insufficient memory", "builtins": "DefaultCPUAllocator: can't allocate memory"}
"""What OpenCV and torch write, by the module of the exception's type."""

_REFUSAL = re.compile(
    r"exceeds specified max pixel count|Invalid image size|Picture size [1-9]\d*x[1-9]\d* is invalid|"
    r"Frame size \S+ exceeds limit"
)


class PixelBudget:
    """What may still be decoded of a file.

    Args:
        size_bytes: Size of the file.
    """

    def __init__(self, size_bytes: int) -> None:
        self._size_bytes = size_bytes
        self._left = float(_FREE_PIXELS + _PIXELS_PER_BYTE * size_bytes)

    def check(self) -> None:
        """Check that something is left.

        Raises:
            VideoError: `too_large`: all is spent.
        """
        if self._left <= 0:
            raise VideoError(
                "too_large",
                f"it makes the decoder fill more pixels than a file of {self._size_bytes} bytes may: it may be made to "
                "keep processors busy; if it is not, encode it with more bytes for each frame",
            )

    def spend(self, num_frames: int, num_pixels: int) -> None:
        """Count frames of a size that were decoded."""
        self._left -= num_frames * num_pixels * max(1.0, num_pixels / _LARGE_PIXELS)


def frame_limit(width: int, height: int, max_pixels: int) -> int:
    """Return how many pixels a frame of a stream may have.

    Args:
        width: As declared at its beginning; 0 where that is not known.
        height: The same.
        max_pixels: What no frame may have more of.
    """
    declared = width * height
    return min(max_pixels, max(_GROWN_PIXELS, _GROWTH * declared)) if declared else max_pixels


def complaint_about_size(error: Exception) -> str | None:
    """Return libav's message if it failed because a frame is larger than allowed, else None."""
    _, _, complaint = getattr(error, "log", None) or (0, "", "")
    return find_complaint([complaint])


def find_complaint(messages: list[str]) -> str | None:
    """Return the first message with which libav refuses a frame for its size, or None where none does."""
    found = next((message for message in messages if _REFUSAL.search(message)), None)
    return None if found is None else found.strip().split(",")[0]


def is_out_of_memory(error: Exception) -> bool:
    """Return whether an error says that there is not enough memory, in the words of any library that handles frames."""
    told = _OUT_OF_MEMORY.get(type(error).__module__.partition(".")[0])
    return isinstance(error, MemoryError) or (told is not None and told in str(error))


def most_entries(size_bytes: int) -> int:
    """Return how many frames the index of a file may list."""
    return _FREE_ENTRIES + size_bytes // _ENTRY_BYTES


def check_entries(num_entries: int, size_bytes: int) -> None:
    """Check the index of an MP4 against the size of its file: more entries than fit into it are repeated, or made up.

    Raises:
        VideoError: `too_large`: there are too many.
    """
    if num_entries > most_entries(size_bytes):
        raise VideoError("too_large", f"its index lists {num_entries} frames, more than fit into {size_bytes} bytes")


def check_resized(height: int, width: int) -> None:
    """Check the size of frames after resizing.

    Raises:
        VideoError: `too_large`: they have more than `MAX_RESIZED_PIXELS`.
    """
    if height * width > MAX_RESIZED_PIXELS:
        raise VideoError(
            "too_large",
            f"its frames are so long and narrow that, resized, they would be {width}x{height}, above the limit of "
            f"{MAX_RESIZED_PIXELS} pixels",
        )

"""Putting frames together into clips.

Takes the frames that a segment's clips need, one after the other in the order of presentation, returns each clip when
its last frame has come. A frame that one clip alone has is converted right into it. Another is converted once, however
many clips have it, and is kept until the last of them is complete: where clips overlap, what is in memory are the
frames under one clip's span, not the clips.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from vidcnn.errors import StorageError, VideoError
from vidcnn.sampling.segments import Segment
from vidcnn.video.pixels import FrameConverter, UInt8Array


@dataclass(frozen=True, eq=False)
class DecodedClip:
    """One clip's pixels, or the reason why there are none.

    Attributes:
        index: Index of the clip in its segment.
        pixels: uint8 (T, H, W, 3) RGB; None on failure.
        error: Why the clip is not available; None on success.
    """

    index: int
    pixels: UInt8Array | None = None
    error: VideoError | StorageError | None = None


class ClipAssembler:
    """Takes the needed frames of a segment in order, and hands out its clips.

    Args:
        segment: The planned clips.
        by_order: Whether frames are known by their index instead of their presentation time.
        converter: Makes pixels of frames.

    Attributes:
        needed: The times, or indexes, of the needed frames, increasing.
    """

    def __init__(self, segment: Segment, *, by_order: bool, converter: FrameConverter) -> None:
        self._converter = converter
        self._lost = np.flatnonzero(segment.truncated).tolist()
        clips = np.flatnonzero(~segment.truncated)
        wanted = (segment.frames if by_order else segment.pts)[clips]  # (num_clips, T)
        needed, places = np.unique(wanted, return_inverse=True)
        places = places.reshape(wanted.shape)  # for each frame of each clip its index in `needed`
        self.needed: list[int] = needed.tolist()
        self._cursor = 0
        self._settled: dict[int, UInt8Array | VideoError | StorageError] = {}
        self._open = dict(zip(clips.tolist(), places, strict=True))
        last_place = places.max(axis=1, initial=-1)
        self._complete_at = _grouped(last_place.tolist(), clips.tolist())
        last_use = np.zeros(len(needed), np.int64)
        np.maximum.at(last_use, places, last_place[:, None])
        self._free_after = _grouped(last_use.tolist(), range(len(needed)))
        num_uses = np.bincount(places.ravel(), minlength=len(needed))
        self._homes = {
            place: (clip, position)
            for clip, row in self._open.items()
            for position, place in enumerate(row.tolist())
            if num_uses[place] == 1
        }
        self._filled: dict[int, UInt8Array] = {}  # by clip: its pixels, those of frames that it has alone

    @property
    def is_complete(self) -> bool:
        """Whether every needed frame has been settled."""
        return self._cursor == len(self.needed)

    @property
    def next_needed(self) -> int:
        """The time of the next frame that is needed; only while not complete."""
        return self.needed[self._cursor]

    def put(self, frame: Any) -> list[DecodedClip]:
        """Settle the next needed time with a frame, and return the clips that this completes."""
        home = self._homes.get(self._cursor)
        if home is None:
            return self._settle(self._converter.convert(frame))
        clip, position = home
        filled = self._filled.get(clip)
        into = None if filled is None else filled[position]
        pixels = self._converter.convert(frame, into)
        if filled is None:
            self._filled[clip] = filled = np.empty((len(self._open[clip]), *pixels.shape), np.uint8)
        if pixels.shape != filled.shape[1:]:
            return self._settle(pixels)
        if pixels is not into:
            filled[position] = pixels
        return self._settle(None)

    def fail_next(self, error: VideoError | StorageError) -> list[DecodedClip]:
        """Settle the next needed time with a failure of every clip that needs it; return those that this completes."""
        return self._settle(error)

    def fail_truncated(self) -> Iterator[DecodedClip]:
        """Fail the clips of which the plan knows that their frames are cut off."""
        while self._lost:
            error = VideoError("truncated", "the file was cut off before this clip's end")
            yield DecodedClip(self._lost.pop(0), error=error)

    def fail_rest(self, error: VideoError | StorageError) -> Iterator[DecodedClip]:
        """Fail every clip that has not been handed out."""
        yield from self.fail_truncated()
        self._filled.clear()
        for clip in sorted(self._open):
            del self._open[clip]
            yield DecodedClip(clip, error=error)
        self._cursor = len(self.needed)

    def _settle(self, pixels: UInt8Array | VideoError | StorageError | None) -> list[DecodedClip]:
        """Settle the next needed time with pixels that are kept, with a failure, or with None: they are in their clip.

        Returns:
            The clips that this completes.
        """
        place = self._cursor
        self._cursor += 1
        if pixels is not None:
            self._settled[place] = pixels
        clips = [self._take(clip) for clip in self._complete_at.get(place, ())]
        for unused in self._free_after.get(place, ()):
            self._settled.pop(unused, None)
        return clips

    def _take(self, clip: int) -> DecodedClip:
        filled = self._filled.pop(clip, None)
        places = self._open.pop(clip).tolist()
        for position, place in enumerate(places):
            frame = self._settled.get(place)
            if frame is None:
                continue  # it is in the clip already
            if isinstance(frame, VideoError | StorageError):
                return DecodedClip(clip, error=frame)
            if filled is None:
                filled = np.empty((len(places), *frame.shape), np.uint8)
            if frame.shape != filled.shape[1:]:
                message = "the size of its frames changes within a clip"
                return DecodedClip(clip, error=VideoError("corrupt_frames", message))
            filled[position] = frame
        return DecodedClip(clip, filled)


def _grouped(keys: list[int], values: Any) -> dict[int, list[int]]:
    groups: dict[int, list[int]] = {}
    for key, value in zip(keys, values, strict=True):
        groups.setdefault(key, []).append(value)
    return groups

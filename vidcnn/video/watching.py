"""What can be seen in a video at regular times: black and frozen stretches, and its print.

Takes one small picture of each *sample*, a moment of the video, in their order; returns counts and half-open stretches
``[start, end)`` in seconds. Pictures are not kept::

    sample    0   1   2   3   4   5   6        start and end of a stretch are times of samples, so that a
    picture   A   B   B   B   -   -   C        stretch is known to within the distance of two of them
                  [frozen     [black
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from vidcnn.video.likeness import picture_bits, print_of, print_places

PICTURE_SIZE = 64
"""Pixels of a picture's side."""

_BLACK_LEVEL = 26
_BLACK_SHARE = 0.98
"""A picture is black where this share of its pixels is darker than a tenth of the range."""
_FROZEN_LEVELS = 4.0
_FROZEN_SIZE = 32
"""Pictures are the same where no pixel of them, at this size, differs by more gray levels than this: a still picture
changes by some levels with each keyframe, and by hardly any between."""
_LEAST_SAMPLES = 2
"""Samples in a stretch: a single one shows nothing of what is around it."""

FloatArray = npt.NDArray[np.float32]
Stretch = tuple[float, float]


class Seen(NamedTuple):
    """What was seen in a video.

    Attributes:
        num_samples: Moments that were looked at.
        num_damaged: Those of them whose picture is missing or damaged.
        black: Stretches that are black.
        frozen: Stretches of one picture that does not change, and is not black.
        print: See `vidcnn.video.likeness.print_of`.
    """

    num_samples: int
    num_damaged: int
    black: tuple[Stretch, ...]
    frozen: tuple[Stretch, ...]
    print: bytes | None


class Watcher:
    """Takes the pictures of a video one by one."""

    def __init__(self) -> None:
        self._num_damaged = 0
        self._bits: list[int | None] = []
        self._black, self._frozen = _Stretches(), _Stretches()
        self._still: FloatArray | None = None  # the first picture of what may be frozen
        self._began: float | None = None
        self._end = 0.0

    def add(self, start: float, end: float, gray: npt.NDArray[np.uint8] | None) -> None:
        """Take the next sample.

        Args:
            start: Its time in seconds.
            end: The time of the one after it, or the end of the video.
            gray: Its picture, uint8 (H, W); None where it is missing or damaged.
        """
        self._began = start if self._began is None else self._began
        self._end = end
        if gray is None:
            self._num_damaged += 1
            self._bits.append(None)
            self._still = None
            self._black.break_off()
            self._frozen.break_off()
            return
        is_black = bool((gray < _BLACK_LEVEL).mean() >= _BLACK_SHARE)
        size = (_FROZEN_SIZE, _FROZEN_SIZE)
        levels: FloatArray = np.asarray(cv2.resize(gray, size, interpolation=cv2.INTER_AREA), np.float32)
        is_same = self._still is not None and float(np.abs(levels - self._still).max()) <= _FROZEN_LEVELS
        if is_black or not is_same:
            self._still = None if is_black else levels
            self._frozen.break_off()
        if is_black:
            self._black.add(start, end)
        else:
            self._black.break_off()
            self._frozen.add(start, end)
        self._bits.append(picture_bits(gray))

    def seen(self, sample_seconds: float) -> Seen:
        """Return what was seen.

        Args:
            sample_seconds: Distance of two samples.
        """
        num_samples = len(self._bits)
        duration = (self._end - (self._began or 0.0)) / sample_seconds
        return Seen(
            num_samples=num_samples,
            num_damaged=self._num_damaged,
            black=self._black.ended(),
            frozen=self._frozen.ended(),
            print=print_of(self._bits, print_places(num_samples, duration)) if num_samples else None,
        )


class _Stretches:
    """Runs of samples that follow each other."""

    def __init__(self) -> None:
        self._found: list[Stretch] = []
        self._start = self._end = 0.0
        self._num_samples = 0

    def add(self, start: float, end: float) -> None:
        """Take a sample that belongs to the run."""
        if not self._num_samples:
            self._start = start
        self._end = end
        self._num_samples += 1

    def break_off(self) -> None:
        """End the run, if there is one."""
        if self._num_samples >= _LEAST_SAMPLES:
            self._found.append((self._start, self._end))
        self._num_samples = 0

    def ended(self) -> tuple[Stretch, ...]:
        """End the last run, and return all of them."""
        self.break_off()
        return tuple(self._found)

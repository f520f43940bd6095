"""Resizing a part of a picture as the whole would be resized.

Takes the samples of a picture or of one plane of it, returns the crop that is wanted, interpolated from as few samples
as give the same result as all of them.
"""

from __future__ import annotations

from functools import lru_cache
from math import ceil, floor, gcd
from typing import Any, NamedTuple

import cv2
import numpy.typing as npt


class Target(NamedTuple):
    """What is wanted of a frame as it was coded, before it is turned upright.

    Attributes:
        size: (height, width) of the whole frame after resizing.
        top: First row of the crop.
        left: First column of the crop.
        height: Rows of the crop.
        width: Columns of the crop.
        interpolation: OpenCV's number for it.
    """

    size: tuple[int, int]
    top: int
    left: int
    height: int
    width: int
    interpolation: int


class Resizing:
    """Resizes a picture of one size, or one plane of it, and cuts out the crop.

    Args:
        height: Rows of the picture.
        width: Columns of the picture.
        target: What is wanted of it; a plane of chroma is stretched to it.
    """

    def __init__(self, height: int, width: int, target: Target) -> None:
        rows = window(height, target.size[0], target.top, target.height)
        columns = window(width, target.size[1], target.left, target.width)
        self._source = (rows.source, columns.source)
        self._crop = (rows.crop, columns.crop)
        fx, fy = target.size[1] / width, target.size[0] / height
        # OpenCV takes means only where neither axis grows.
        is_mixed = target.interpolation == cv2.INTER_AREA and (fx > 1) != (fy > 1)
        self._factors = ((fx, 1.0), (1.0, fy)) if is_mixed else ((fx, fy),)
        self._interpolation = target.interpolation

    def apply(self, samples: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return (height, width) or (height, width, C) of the target, from (H, W) or (H, W, C)."""
        resized = samples[self._source]
        for fx, fy in self._factors:
            resized = cv2.resize(resized, None, fx=fx, fy=fy, interpolation=self._interpolation)
        return resized[self._crop]


class Window(NamedTuple):
    """The samples along one axis from which a crop is interpolated.

    Attributes:
        source: The samples.
        crop: The crop among what they are resized to.
    """

    source: slice
    crop: slice


@lru_cache(maxsize=256)
def window(source_size: int, size: int, start: int, length: int) -> Window:
    """Return as few samples as give the same result as all of them.

    The window may begin only where a sample and a result coincide, at multiples of ``size / gcd``: from elsewhere all
    results would be shifted by a fraction.
    """
    shared = gcd(size, source_size)
    # Bicubic interpolation reaches from the sample before the last one not beyond a result to the two after it.
    nearest_left = floor((start + 0.5) * source_size / size - 0.5)
    steps = max(0, nearest_left - 1) // (source_size // shared)
    first, source_first = steps * (size // shared), steps * (source_size // shared)
    last = (start + length - 0.5) * source_size / size - 0.5
    end = max(int(last) + 4, ceil((start + length) * source_size / size))  # of what interpolation reaches, or an area
    source = slice(source_first, min(source_size, end))
    return Window(source, slice(start - first, start - first + length))

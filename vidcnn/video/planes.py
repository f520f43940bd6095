"""From the planes of luma and chroma, in whatever format they were coded, to RGB.

Takes PyAV's frames, whose samples are read where libav left them. Each plane is resized by itself, and only the small
result is converted.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from vidcnn.video.resizing import Resizing, Target

_PLANAR = re.compile(r"^yuv(j?)(?:410|411|420|422|440|444)p(?:(9|10|12|14|16)le)?$")
_FULL_RANGE = 2  # AVCOL_RANGE_JPEG
_LUMA_WEIGHTS = {  # (Kr, Kb) by AVColorSpace, ITU-T H.273 table 4
    1: (0.2126, 0.0722),  # BT.709
    4: (0.30, 0.11),  # FCC
    7: (0.212, 0.087),  # SMPTE 240M
    9: (0.2627, 0.0593),  # BT.2020, non-constant luminance
    10: (0.2627, 0.0593),
}
_BT601 = (0.299, 0.114)  # also what libav takes where the stream does not declare it

_NOT_LINEAR_IN_CBCR = (0, 8, 11, 12, 13, 14, 15, 16, 17)  # RGB, YCgCo, ICtCp and others: left to libav


class Layout(NamedTuple):
    """Where a pixel format keeps its samples."""

    bits: int
    shift: int  # unused low bits of a 16-bit sample
    interleaved_chroma: bool
    is_gray: bool
    is_full_range: bool


@lru_cache(maxsize=64)
def find_layout(pixel_format: str) -> Layout | None:
    """Return the layout of a format that can be resized plane by plane, else None."""
    if match := _PLANAR.match(pixel_format):
        return Layout(int(match[2] or 8), 0, False, False, match[1] == "j")
    if pixel_format == "nv12":
        return Layout(8, 0, True, False, False)
    if pixel_format in ("p010le", "p012le", "p016le"):
        bits = int(pixel_format[2:4])
        return Layout(bits, 16 - bits, True, False, False)
    if pixel_format == "gray":
        return Layout(8, 0, False, True, False)
    return None


class PlaneConverter:
    """Turns frames of one pixel format and one range of colours into RGB, plane by plane.

    Args:
        layout: Where the frames keep their samples.
        matrix: From their Y'CbCr to RGB, (3, 4); None for gray.
        target: What is wanted of a frame.
    """

    def __init__(self, layout: Layout, matrix: npt.NDArray[np.float32] | None, target: Target) -> None:
        self._layout = layout
        self._matrix = matrix
        self._target = target
        self._resizing: dict[tuple[int, int], Resizing] = {}  # by (height, width) of a plane

    @classmethod
    def of(cls, pixel_format: str, colorspace: int, color_range: int, target: Target) -> PlaneConverter | None:
        """Return the converter for a kind of frames, or None where the kind does not allow it.

        Args:
            pixel_format: libav's name of it.
            colorspace: AVColorSpace.
            color_range: AVColorRange.
            target: What is wanted of a frame.
        """
        layout = find_layout(pixel_format)
        if layout is None or colorspace in _NOT_LINEAR_IN_CBCR:
            return None
        is_full_range = layout.is_full_range or color_range == _FULL_RANGE
        return cls(layout, None if layout.is_gray else rgb_matrix(colorspace, is_full_range), target)

    def convert(self, frame: Any, into: npt.NDArray[np.uint8] | None = None) -> npt.NDArray[np.uint8] | None:
        """Return uint8 (height, width, 3) RGB of the target; None where the frame is upside down in memory.

        Args:
            frame: A PyAV video frame.
            into: Where the pixels are put, if it is of that shape.
        """
        resized: list[Any] = []
        for index, plane in enumerate(frame.planes):
            if plane.line_size <= 0:
                return None
            resized.append(self._resize(plane, is_chroma=index > 0))
        # (height, width) or, of interleaved chroma, (height, width, 2) each -> (height, width, 3)
        merged: Any = cv2.merge(resized * 3 if self._matrix is None else resized)
        rgb: Any = merged if self._matrix is None else cv2.transform(merged, self._matrix, into)
        return rgb  # type: ignore[no-any-return]

    def _resize(self, plane: Any, *, is_chroma: bool) -> Any:
        """Return what the target has of a plane, as 8-bit samples: (height, width), or (height, width, 2)."""
        size = (plane.height, plane.width)
        resizing = self._resizing.get(size)
        if resizing is None:
            resizing = self._resizing[size] = Resizing(*size, self._target)
        layout = self._layout
        dtype = np.uint8 if layout.bits == 8 else np.uint16
        resized = resizing.apply(samples(plane, dtype, 2 if is_chroma and layout.interleaved_chroma else 1))
        if layout.bits > 8:
            return cv2.convertScaleAbs(resized, alpha=1 / (1 << (layout.bits - 8 + layout.shift)))
        return np.ascontiguousarray(resized)  # others take ten times as long to merge


def samples(plane: Any, dtype: npt.DTypeLike, size: int) -> npt.NDArray[Any]:
    """Return a plane's samples without copying them: (H, W), or (H, W, size) where several take turns.

    Args:
        plane: A plane of a PyAV video frame that is not upside down in memory.
        dtype: Type of a sample.
        size: Samples of a pixel.
    """
    height, width = plane.height, plane.width
    lines = np.frombuffer(plane, dtype).reshape(height, -1)
    return lines[:, :width] if size == 1 else lines[:, : width * size].reshape(height, width, size)


@lru_cache(maxsize=32)
def rgb_matrix(colorspace: int, is_full_range: bool) -> npt.NDArray[np.float32]:
    """Return the 3x4 matrix from 8-bit Y'CbCr to R'G'B' (ITU-T H.273, 8.3)."""
    kr, kb = _LUMA_WEIGHTS.get(colorspace, _BT601)
    kg = 1 - kr - kb
    luma, chroma = (1.0, 1.0) if is_full_range else (255 / 219, 255 / 224)
    offset = 0.0 if is_full_range else 16.0
    rows = [
        [luma, 0.0, chroma * 2 * (1 - kr)],
        [luma, -chroma * 2 * (1 - kb) * kb / kg, -chroma * 2 * (1 - kr) * kr / kg],
        [luma, chroma * 2 * (1 - kb), 0.0],
    ]
    return np.array([[*row, -row[0] * offset - (row[1] + row[2]) * 128] for row in rows], np.float32)

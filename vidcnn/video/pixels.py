"""From a decoded frame to the pixels that a network gets.

In goes libav's frame in whatever pixel format it was coded, out comes uint8 RGB ``(H, W, 3)``: upright, resized and
cropped. Two ways lead there:

- *fast*: the planes of luma and chroma are resized as they are, without a copy, and only the small result is converted
  to RGB. This is point-sampled bilinear interpolation, as torchvision's presets have it, save for the order of the two
  steps and the rounding.
- *exact*: libav converts the whole frame to RGB, and torchvision's own arithmetic resizes it.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, NamedTuple, cast

import cv2
import numpy as np
import numpy.typing as npt

from vidcnn.transforms import Preprocessing

UInt8Array = npt.NDArray[np.uint8]

_INTERPOLATION = {"bilinear": cv2.INTER_LINEAR, "bicubic": cv2.INTER_CUBIC, "nearest": cv2.INTER_NEAREST}
_PLANAR = re.compile(r"^yuv(j?)(?:410|411|420|422|440|444)p(?:(9|10|12|14|16)le)?$")
_FULL_RANGE = 2  # AVCOL_RANGE_JPEG
_LUMA_WEIGHTS = {  # (Kr, Kb) by AVColorSpace, ITU-T H.273 table 4
    1: (0.2126, 0.0722),  # BT.709
    4: (0.30, 0.11),  # FCC
    7: (0.212, 0.087),  # SMPTE 240M
    9: (0.2627, 0.0593),  # BT.2020, non-constant luminance
    10: (0.2627, 0.0593),
}
_BT601 = (0.299, 0.114)  # also what libav takes where the stream does not say

_NOT_LINEAR_IN_CBCR = (0, 8, 11, 12, 13, 14, 15, 16, 17)  # RGB, YCgCo, ICtCp and others: left to libav

cv2.setNumThreads(1)  # a decoder has one core


class FrameConverter:
    """Turns frames into RGB of one size.

    Args:
        preprocessing: Resize and crop; None leaves frames at their own size.
        exact: Take the exact way instead of the fast one.
    """

    def __init__(self, preprocessing: Preprocessing | None, *, exact: bool = False) -> None:
        self._preprocessing = preprocessing
        self._exact = exact

    def convert(self, frame: Any) -> UInt8Array:
        """Return a frame as upright RGB.

        Args:
            frame: A PyAV video frame.

        Returns:
            uint8 (H, W, 3), with H and W the crop of the preprocessing or the frame's own.
        """
        quarter_turns = round(frame.rotation / 90) % 4
        if self._preprocessing is None:
            return _upright(frame.to_ndarray(format="rgb24"), quarter_turns)
        if self._exact:
            return self._convert_exactly(_upright(frame.to_ndarray(format="rgb24"), quarter_turns))
        height, width = frame.height, frame.width
        if quarter_turns % 2:
            height, width = width, height
        resized_height, resized_width = self._preprocessing.resized_size(height, width)
        size = (resized_height, resized_width) if quarter_turns % 2 else (resized_width, resized_height)
        interpolation = _INTERPOLATION[self._preprocessing.interpolation]
        rgb = _resize_planes(frame, size, interpolation)
        if rgb is None:
            rgb = cv2.resize(frame.to_ndarray(format="rgb24"), size, interpolation=interpolation)
        rgb = _upright(rgb, quarter_turns)
        top, left = self._preprocessing.crop_origin(resized_height, resized_width)
        return rgb[top : top + self._preprocessing.crop[0], left : left + self._preprocessing.crop[1]]

    def _convert_exactly(self, rgb: UInt8Array) -> UInt8Array:
        from vidcnn.transforms import resize_and_crop

        assert self._preprocessing is not None
        return resize_and_crop(rgb, self._preprocessing)


class _Layout(NamedTuple):
    """Where a pixel format keeps its samples."""

    bits: int
    shift: int  # unused low bits of a 16-bit sample
    interleaved_chroma: bool
    is_gray: bool
    is_full_range: bool


@lru_cache(maxsize=64)
def _layout(pixel_format: str) -> _Layout | None:
    """Return the layout of a format that can be resized plane by plane, else None."""
    if match := _PLANAR.match(pixel_format):
        return _Layout(int(match[2] or 8), 0, False, False, match[1] == "j")
    if pixel_format == "nv12":
        return _Layout(8, 0, True, False, False)
    if pixel_format in ("p010le", "p012le", "p016le"):
        bits = int(pixel_format[2:4])
        return _Layout(bits, 16 - bits, True, False, False)
    if pixel_format == "gray":
        return _Layout(8, 0, False, True, False)
    return None


def _resize_planes(frame: Any, size: tuple[int, int], interpolation: int) -> UInt8Array | None:
    """Resize luma and chroma apart, and convert the result; None where the format or its memory does not allow it.

    Args:
        frame: A PyAV video frame.
        size: ``(width, height)`` of the result.
        interpolation: OpenCV's number for it.

    Returns:
        uint8 (height, width, 3) RGB.
    """
    layout = _layout(frame.format.name)
    if layout is None or int(frame.colorspace) in _NOT_LINEAR_IN_CBCR:
        return None
    dtype = np.uint8 if layout.bits == 8 else np.uint16
    planes: list[Any] = []
    for index, plane in enumerate(frame.planes):
        if plane.line_size <= 0:
            return None
        channels = 2 if index and layout.interleaved_chroma else 1
        samples: Any = np.frombuffer(plane, dtype).reshape(plane.height, plane.line_size // np.dtype(dtype).itemsize)
        view = samples[:, : plane.width * channels].reshape(plane.height, plane.width, channels)
        resized: Any = cv2.resize(view, size, interpolation=interpolation)
        if layout.bits > 8:
            resized = cv2.convertScaleAbs(resized, alpha=1 / (1 << (layout.bits - 8 + layout.shift)))
        planes.append(resized)
    rgb: Any
    if layout.is_gray:
        rgb = cv2.merge(planes * 3)
    else:
        is_full_range = layout.is_full_range or frame.color_range == _FULL_RANGE
        rgb = cv2.transform(cv2.merge(planes), _rgb_matrix(int(frame.colorspace), is_full_range))
    return cast(UInt8Array, rgb)


@lru_cache(maxsize=32)
def _rgb_matrix(colorspace: int, is_full_range: bool) -> npt.NDArray[np.float32]:
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


def _upright(rgb: UInt8Array, quarter_turns: int) -> UInt8Array:
    return np.rot90(rgb, quarter_turns) if quarter_turns else rgb

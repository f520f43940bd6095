"""From a decoded frame to the pixels that a network gets.

Takes libav's frame in whatever pixel format it was coded, returns uint8 RGB ``(H, W, 3)``: upright, resized and
cropped. Two ways lead there:

- *fast*: the planes of luma and chroma are resized as they are, without a copy, and only the small result is converted
  to RGB. This is interpolation as in torchvision's presets, point-sampled, or the mean over an area, save for the
  order of the two steps and the rounding.
- *exact*: libav converts the whole frame to RGB, and torchvision's own arithmetic resizes it.
"""

from __future__ import annotations

import re
import struct
from functools import lru_cache
from math import ceil, floor, gcd
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from vidcnn.sampling.preprocessing import Preprocessing, resize_and_crop
from vidcnn.video.side_data import display_matrix

UInt8Array = npt.NDArray[np.uint8]

_INTERPOLATION = {
    "bilinear": cv2.INTER_LINEAR,
    "bicubic": cv2.INTER_CUBIC,
    "nearest": cv2.INTER_NEAREST,
    "area": cv2.INTER_AREA,
}
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

_UNSPECIFIED = 2  # AVCOL_SPC_UNSPECIFIED
_NOT_LINEAR_IN_CBCR = (0, 8, 11, 12, 13, 14, 15, 16, 17)  # RGB, YCgCo, ICtCp and others: left to libav

cv2.setNumThreads(1)  # a decoder has one core


class FrameConverter:
    """Turns frames into RGB of one size.

    Args:
        preprocessing: Resize and crop; None leaves frames at their own size.
        exact: Take the exact way instead of the fast one.
        uncropped: Resize only.
    """

    def __init__(self, preprocessing: Preprocessing | None, *, exact: bool = False, uncropped: bool = False) -> None:
        self._preprocessing = preprocessing
        self._exact = exact
        self._uncropped = uncropped
        self._is_turned: bool | None = None  # whether frames declare how they are turned, by the first one

    def convert(self, frame: Any) -> UInt8Array:
        """Return a frame as upright RGB.

        Args:
            frame: A PyAV video frame.

        Returns:
            uint8 (H, W, 3), with H and W the crop of the preprocessing, the resized size, or the frame's own.
        """
        orientation = self._orientation(frame)
        preprocessing = self._preprocessing
        if preprocessing is None:
            return _upright(_converted(frame), orientation)
        if self._uncropped:
            size = (frame.width, frame.height) if orientation.is_transposed else (frame.height, frame.width)
            preprocessing = preprocessing.uncropped(*size)
        if self._exact:
            return resize_and_crop(_upright(_converted(frame), orientation), preprocessing)
        target = _target(preprocessing, frame.height, frame.width, orientation)
        rgb = _resize_planes(frame, target)
        if rgb is None:
            rgb = _resize(_converted(frame), target)
        return _upright(rgb, orientation)

    def _orientation(self, frame: Any) -> _Orientation:
        if self._is_turned is None:
            self._is_turned = display_matrix(frame) is not None
        if not self._is_turned and frame.rotation == 0:
            return _Orientation()
        matrix = display_matrix(frame)
        return _Orientation() if matrix is None else _read_matrix(matrix)


def _converted(frame: Any) -> UInt8Array:
    """Return a whole frame as libav converts it: uint8 (H, W, 3)."""
    try:
        rgb: UInt8Array = frame.to_ndarray(format="rgb24")
    except OSError:
        # libav refuses colour spaces that are reserved, and some that it cannot convert: it takes a guess if not asked.
        if frame.colorspace == _UNSPECIFIED:
            raise
        frame.colorspace = _UNSPECIFIED
        rgb = frame.to_ndarray(format="rgb24")
    return rgb


class _Orientation(NamedTuple):
    """How a frame is brought upright: first rows and columns change places, then each axis may be reversed.

    Attributes:
        is_transposed: Whether rows become columns.
        reverses_rows: Whether what is then on top belongs at the bottom.
        reverses_columns: Whether what is then on the left belongs on the right.
    """

    is_transposed: bool = False
    reverses_rows: bool = False
    reverses_columns: bool = False


@lru_cache(maxsize=64)
def _read_matrix(matrix: bytes) -> _Orientation:
    """Read a display matrix (ISO/IEC 14496-12, 6.2.2): a sample at (x, y) is shown at (ax + cy, bx + dy)."""
    a, b, _, c, d, *_ = struct.unpack("=9i", matrix)
    if abs(b) > abs(a):
        return _Orientation(True, b < 0, c < 0)
    return _Orientation(False, d < 0, a < 0)


def _upright(rgb: UInt8Array, orientation: _Orientation) -> UInt8Array:
    if orientation.is_transposed:
        rgb = rgb.transpose(1, 0, 2)
    return rgb[:: -1 if orientation.reverses_rows else 1, :: -1 if orientation.reverses_columns else 1]


class _Target(NamedTuple):
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


@lru_cache(maxsize=64)
def _target(preprocessing: Preprocessing, height: int, width: int, orientation: _Orientation) -> _Target:
    is_transposed = orientation.is_transposed
    size = preprocessing.resized_size(*((width, height) if is_transposed else (height, width)))  # upright
    origin = preprocessing.crop_origin(*size)
    reverses = (orientation.reverses_rows, orientation.reverses_columns)
    rows, columns = (
        (end - start - length if is_reversed else start, length, end)
        for end, start, length, is_reversed in zip(size, origin, preprocessing.crop, reverses, strict=True)
    )
    if is_transposed:
        rows, columns = columns, rows
    interpolation = _INTERPOLATION[preprocessing.interpolation]
    return _Target((rows[2], columns[2]), rows[0], columns[0], rows[1], columns[1], interpolation)


def _resize(samples: npt.NDArray[Any], target: _Target) -> npt.NDArray[Any]:
    """Resize a picture, or one plane of it, and cut out the crop.

    Args:
        samples: (H, W) or (H, W, C).
        target: What is wanted of the picture; a plane of chroma is stretched to it.

    Returns:
        (height, width) or (height, width, C) of the target.
    """
    height, width = samples.shape[:2]
    rows = _window(height, target.size[0], target.top, target.height)
    columns = _window(width, target.size[1], target.left, target.width)
    resized = samples[rows.source, columns.source]
    fx, fy = target.size[1] / width, target.size[0] / height
    # OpenCV takes means only where neither axis grows.
    is_mixed = target.interpolation == cv2.INTER_AREA and (fx > 1) != (fy > 1)
    for x, y in ((fx, 1.0), (1.0, fy)) if is_mixed else ((fx, fy),):
        resized = cv2.resize(resized, None, fx=x, fy=y, interpolation=target.interpolation)
    return resized[rows.crop, columns.crop]


class _Window(NamedTuple):
    """The samples along one axis from which a crop is interpolated.

    Attributes:
        source: The samples.
        crop: The crop among what they are resized to.
    """

    source: slice
    crop: slice


@lru_cache(maxsize=256)
def _window(source_size: int, size: int, start: int, length: int) -> _Window:
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
    return _Window(source, slice(start - first, start - first + length))


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


def _resize_planes(frame: Any, target: _Target) -> UInt8Array | None:
    """Resize luma and chroma apart, and convert the result; None where the format or its memory does not allow it.

    Returns:
        uint8 (height, width, 3) RGB of the target.
    """
    layout = _layout(frame.format.name)
    colorspace = int(frame.colorspace)
    if layout is None or colorspace in _NOT_LINEAR_IN_CBCR:
        return None
    planes: list[Any] = []
    for index, plane in enumerate(frame.planes):
        if plane.line_size <= 0:
            return None
        resized = _resize(_samples(plane, layout, is_chroma=index > 0), target)
        if layout.bits > 8:
            resized = cv2.convertScaleAbs(resized, alpha=1 / (1 << (layout.bits - 8 + layout.shift)))
        planes.append(resized)
    if layout.is_gray:
        planes *= 3
    # (height, width) or, of interleaved chroma, (height, width, 2) each -> (height, width, 3)
    merged: Any = cv2.merge(planes)
    if layout.is_gray:
        return merged  # type: ignore[no-any-return]
    is_full_range = layout.is_full_range or frame.color_range == _FULL_RANGE
    rgb: Any = cv2.transform(merged, _rgb_matrix(colorspace, is_full_range))
    return rgb  # type: ignore[no-any-return]


def _samples(plane: Any, layout: _Layout, *, is_chroma: bool) -> npt.NDArray[Any]:
    """Return a plane's samples without copying them: (H, W), or (H, W, 2) where Cb and Cr take turns."""
    dtype = np.dtype(np.uint8 if layout.bits == 8 else np.uint16)
    lines = np.frombuffer(plane, dtype).reshape(plane.height, plane.line_size // dtype.itemsize)
    if is_chroma and layout.interleaved_chroma:
        return lines[:, : plane.width * 2].reshape(plane.height, plane.width, 2)
    return lines[:, : plane.width]


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

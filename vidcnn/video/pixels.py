"""From a decoded frame to the pixels that a network gets.

Takes libav's frame in whatever pixel format it was coded, returns uint8 RGB ``(H, W, 3)``: upright, resized and
cropped. Two ways lead there:

- *fast*: the planes of luma and chroma, or pixels of red, green and blue in whatever order, are resized as they are,
  without a copy, and only the small result is converted to RGB. This is interpolation as in torchvision's presets,
  point-sampled, or the mean over an area, save for the order of the two steps and the rounding.
- *exact*: libav converts the whole frame to RGB, and torchvision's own arithmetic resizes it.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from vidcnn.sampling.preprocessing import Preprocessing, resize_and_crop
from vidcnn.video.limits import check_resized
from vidcnn.video.planes import PlaneConverter, samples
from vidcnn.video.resizing import Resizing, Target
from vidcnn.video.side_data import display_matrix

UInt8Array = npt.NDArray[np.uint8]

_INTERPOLATION = {
    "bilinear": cv2.INTER_LINEAR,
    "bicubic": cv2.INTER_CUBIC,
    "nearest": cv2.INTER_NEAREST,
    "area": cv2.INTER_AREA,
}
_UNSPECIFIED = 2  # AVCOL_SPC_UNSPECIFIED
_PACKED = {
    "rgb24": (3, None),
    "bgr24": (3, cv2.COLOR_BGR2RGB),
    "rgba": (4, cv2.COLOR_RGBA2RGB),
    "rgb0": (4, cv2.COLOR_RGBA2RGB),
    "bgra": (4, cv2.COLOR_BGRA2RGB),
    "bgr0": (4, cv2.COLOR_BGRA2RGB),
}
"""Formats with all of a pixel in one place: how many bytes that are, and OpenCV's way from there to RGB."""

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
        # What the last frame was, and how such a frame becomes RGB: nearly always, all frames of a stream are alike.
        self._kind: tuple[Any, ...] | None = None
        self._by_plane: PlaneConverter | None = None
        self._whole: Resizing | None = None

    def convert(self, frame: Any, into: UInt8Array | None = None) -> UInt8Array:
        """Return a frame as upright RGB.

        Args:
            frame: A PyAV video frame.
            into: Where the pixels may be put; then this is returned, or else another array.

        Returns:
            uint8 (H, W, 3), with H and W the crop of the preprocessing, the resized size, or the frame's own.

        Raises:
            VideoError: `too_large`: resized, it would have too many pixels.
        """
        orientation = self._orientation(frame)
        preprocessing = self._preprocessing
        if preprocessing is None:
            return _upright(_converted(frame), orientation)
        size = (frame.width, frame.height) if orientation.is_transposed else (frame.height, frame.width)
        check_resized(*preprocessing.resized_size(*size))
        if self._uncropped:
            preprocessing = preprocessing.uncropped(*size)
        if self._exact:
            return resize_and_crop(_upright(_converted(frame), orientation), preprocessing)
        kind = (frame.format.name, frame.height, frame.width, frame.colorspace, frame.color_range, orientation)
        if kind != self._kind:
            self._kind = kind
            target = _target(preprocessing, frame.height, frame.width, orientation)
            self._by_plane = PlaneConverter.of(frame.format.name, frame.colorspace, frame.color_range, target)
            self._whole = Resizing(frame.height, frame.width, target)
        in_place = into if orientation == _AS_CODED else None
        rgb = self._by_plane.convert(frame, in_place) if self._by_plane is not None else None
        if rgb is None:
            assert self._whole is not None
            rgb = _resized(frame, self._whole)
        return _upright(rgb, orientation, into)

    def _orientation(self, frame: Any) -> _Orientation:
        if self._is_turned is None:
            self._is_turned = display_matrix(frame) is not None
        if not self._is_turned and frame.rotation == 0:
            return _AS_CODED
        matrix = display_matrix(frame)
        return _AS_CODED if matrix is None else _read_matrix(matrix)


def _resized(frame: Any, resizing: Resizing) -> UInt8Array:
    """Return the target of a frame whose planes are not to be resized apart: uint8 (height, width, 3)."""
    size, code = _PACKED.get(frame.format.name, (0, None))
    (plane, *_) = frame.planes
    if not size or plane.line_size <= 0:
        return resizing.apply(_converted(frame))
    resized: Any = resizing.apply(samples(plane, np.uint8, size))
    return resized if code is None else cv2.cvtColor(resized, code)  # type: ignore[no-any-return]


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


_AS_CODED = _Orientation()


@lru_cache(maxsize=64)
def _read_matrix(matrix: bytes) -> _Orientation:
    """Read a display matrix (ISO/IEC 14496-12, 6.2.2): a sample at (x, y) is shown at (ax + cy, bx + dy)."""
    a, b, _, c, d, *_ = struct.unpack("=9i", matrix)
    if abs(b) > abs(a):
        return _Orientation(True, b < 0, c < 0)
    return _Orientation(False, d < 0, a < 0)


def _upright(rgb: UInt8Array, orientation: _Orientation, into: UInt8Array | None = None) -> UInt8Array:
    """Turn a frame, into an array of its shape if there is one."""
    is_transposed, reverses_rows, reverses_columns = orientation
    turned: Any = rgb  # OpenCV turns pixels, where numpy would copy bytes one by one
    if is_transposed:
        turned = cv2.transpose(turned, None if reverses_rows or reverses_columns else into)
    if reverses_rows or reverses_columns:
        axis = -1 if reverses_rows and reverses_columns else int(reverses_columns)
        turned = cv2.flip(turned, axis, into)
    return turned  # type: ignore[no-any-return]


def _target(preprocessing: Preprocessing, height: int, width: int, orientation: _Orientation) -> Target:
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
    return Target((rows[2], columns[2]), rows[0], columns[0], rows[1], columns[1], interpolation)

"""What is done to a frame between the decoder and the network.

A `Preprocessing` has two halves: geometry (resize, then centre crop), which the decoder applies to the frames
that it keeps, and normalisation, which the `Classifier` applies on the model's device. It is a part of the
model bundle.

`resize_and_crop` is the geometry's reference in tensors: bit for bit what torchvision's video presets
compute. It serves exact decoding, and clips that no decoder of ours has prepared.

Letters: N clips, T frames, H height, W width, C = 3 channels (RGB); h and w are the crop's height and width.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from vidcnn.bounds import MAX_DEVIATION
from vidcnn.choices import Interpolation

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor


@dataclass(frozen=True)
class Preprocessing:
    """Resize, centre crop and normalisation of frames.

    Args:
        resize: Target ``(height, width)`` in pixels, or one number for the shorter side (the aspect ratio is
            kept).
        crop: ``(height, width)`` cut from the centre after resizing, in pixels.
        mean: Mean of each RGB channel, on the scale [0, 1].
        std: Standard deviation of each RGB channel, on the scale [0, 1].
        interpolation: How frames are resized. All but ``area`` are without antialiasing, as in torchvision's video
            presets: of frames that become many times smaller, most pixels do not count, and edges that move flicker.

    Raises:
        ValueError: A size is not positive, a mean or deviation is none, or the crop does not fit the resized frame.
    """

    resize: tuple[int, int] | int
    crop: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: Interpolation = "bilinear"

    def __post_init__(self) -> None:
        sizes = (self.resize,) if isinstance(self.resize, int) else self.resize
        if min(*sizes, *self.crop, 2**31) < 1:
            raise ValueError(f"resize ({self.resize}) and crop ({self.crop}) must be > 0")
        smallest = (self.resize, self.resize) if isinstance(self.resize, int) else self.resize
        if self.crop[0] > smallest[0] or self.crop[1] > smallest[1]:
            raise ValueError(f"crop {self.crop} does not fit in frames resized to {self.resize}")
        if min(self.std) <= 0:
            raise ValueError(f"std {self.std} must be > 0")
        if not all(abs(value) <= MAX_DEVIATION for value in (*self.mean, *self.std, 1 / min(self.std))):
            raise ValueError(f"mean {self.mean} and std {self.std} must be numbers of at most {MAX_DEVIATION:g}")

    @property
    def frame_bytes(self) -> int:
        """Size of a cropped frame, uint8 (h, w, 3)."""
        return 3 * self.crop[0] * self.crop[1]

    def resized_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the ``(height, width)`` that a frame has after resizing, before the crop.

        With one number for `resize`, the longer side is truncated to an integer, as torchvision does.
        """
        if not isinstance(self.resize, int):
            return self.resize
        short, long = min(height, width), max(height, width)
        scaled = int(self.resize * long / short)
        return (self.resize, scaled) if height <= width else (scaled, self.resize)

    def uncropped(self, height: int, width: int) -> Preprocessing:
        """Return the same without a crop, for frames of ``(height, width)``."""
        size = self.resized_size(height, width)
        return replace(self, resize=size, crop=size)

    def crop_origin(self, height: int, width: int) -> tuple[int, int]:
        """Return the ``(top, left)`` of the centre crop in a resized frame of ``(height, width)``."""
        return round((height - self.crop[0]) / 2.0), round((width - self.crop[1]) / 2.0)


def resize_and_crop(frames: NDArray[np.uint8], preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """Apply the geometry of `preprocessing` to frames in an array: `resize_and_crop_tensor` for ``(..., H, W, C)``.

    Returns:
        uint8 ``(..., h, w, C)``.
    """
    import numpy as np
    import torch

    # Torch takes neither the negative strides of a rotated frame nor, without a warning, memory that is read-only.
    clips = torch.from_numpy(np.require(frames, requirements=["C", "W"])).reshape(1, -1, *frames.shape[-3:])
    cropped: NDArray[np.uint8] = resize_and_crop_tensor(clips, preprocessing).numpy()
    return cropped.reshape(*frames.shape[:-3], *cropped.shape[-3:])


def resize_and_crop_tensor(clips: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Apply the geometry of `preprocessing` to decoded clips.

    Interpolation is in float32, rounded half to even, and but for ``area`` what torchvision's video presets do to uint8
    frames. Clips are processed one by one, so that the float copy is of one clip only.

    Args:
        clips: uint8 ``(N, T, H, W, C)``.
        preprocessing: Geometry to apply; clips that have its size already pass unchanged.

    Returns:
        uint8 ``(N, T, h, w, C)``, contiguous, on the device of `clips`.
    """
    import torch

    height, width = clips.shape[2:4]
    if (height, width) == preprocessing.crop:
        return clips.contiguous()
    size = preprocessing.resized_size(height, width)
    top, left = preprocessing.crop_origin(*size)
    rows, columns = preprocessing.crop
    cropped = clips.new_empty((*clips.shape[:2], rows, columns, clips.shape[4]))
    for index, clip in enumerate(clips):
        frames = clip.permute(0, 3, 1, 2)  # (T, H, W, C) -> (T, C, H, W)
        if size != (height, width):
            pixels = frames.to(torch.float32, memory_format=torch.contiguous_format)
            frames = _resized(pixels, size, preprocessing.interpolation).round().to(torch.uint8)
        frames = frames[:, :, top : top + rows, left : left + columns]
        cropped[index] = frames.permute(0, 2, 3, 1)  # (T, C, h, w) -> (T, h, w, C)
    return cropped


def _resized(pixels: Tensor, size: tuple[int, int], interpolation: Interpolation) -> Tensor:
    """Resize float32 ``(T, C, H, W)`` in [0, 255] to `size`."""
    from torch.nn.functional import interpolate

    if interpolation == "area":
        rows, columns = (_shares(*sizes).to(pixels) for sizes in zip(pixels.shape[-2:], size, strict=True))
        return rows @ pixels @ columns.T
    resized = interpolate(pixels, size, mode=interpolation, align_corners=None if interpolation == "nearest" else False)
    return resized.clamp(0, 255) if interpolation == "bicubic" else resized


def _shares(source_size: int, size: int) -> Tensor:
    """Return what share each old pixel along an axis has in each new one, float64 ``(size, source_size)``.

    Of 3 pixels that become 2::

        0   | 1   | 2        2/3 1/3  0
        0      | 1            0  1/3 2/3
    """
    import torch

    edges = torch.arange(size + 1, dtype=torch.float64)[:, None] * source_size / size
    starts = torch.arange(source_size, dtype=torch.float64)
    overlaps = torch.minimum(edges[1:], starts + 1) - torch.maximum(edges[:-1], starts)
    return overlaps.clamp(min=0) * size / source_size

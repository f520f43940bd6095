"""Augmentation of one decoded clip on a CPU worker, and what it means for the clip's label.

Takes a clip as the decoder made it, uint8 (T, H, W, C); returns a clip of the training size, uint8 (T, h, w, C). It
is a pure function of the clip, the settings and a seed: parameters are drawn from a generator of the clip's own, once
for all frames, so nothing flickers, and no other random state is read or moved. The steps, all but the crop optional::

    crop (and resize) -> flip -> RandAugment -> colour jitter -> random erasing

Only RandAugment and colour jitter need torch, and load it. The rest is slicing and OpenCV: frames are resized as the
decoder resizes them, in integers, where torch's result depends a little on its number of threads.

Letters: T frames, H height, W width, C = 3 channels (RGB); h and w are the output's height and width; K classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import cv2
import numpy as np
import numpy.typing as npt

from vidcnn.choices import Interpolation, Switch

if TYPE_CHECKING:
    from torch import Tensor

Pixels = npt.NDArray[np.uint8]
Box = tuple[int, int, int, int]
"""Top, left, height and width, in pixels."""

Operation = Literal[
    "identity",
    "shear_x",
    "shear_y",
    "translate_x",
    "translate_y",
    "rotate",
    "brightness",
    "saturation",
    "contrast",
    "sharpness",
    "posterize",
    "solarize",
    "autocontrast",
    "equalize",
]
"""What RandAugment chooses from."""

OPERATIONS: tuple[Operation, ...] = get_args(Operation)

MAX_MAGNITUDE = 30
NUM_OPERATIONS = 2
"""Operations that RandAugment applies to a clip."""

ERASED_AREA = (0.02, 0.33)
ERASED_RATIO = (0.3, 3.3)

_INTERPOLATION = {
    "bilinear": cv2.INTER_LINEAR,
    "bicubic": cv2.INTER_CUBIC,
    "nearest": cv2.INTER_NEAREST,
    "area": cv2.INTER_LINEAR,  # parts are about as large as the result
}
_NUM_TRIES = 10
_STREAM = 0x617567
"""Keeps the draws apart from those that the caller makes with the same seed."""


@dataclass(frozen=True)
class Augmentation:
    """How clips are augmented.

    Args:
        crop: ``(height, width)`` of the output, in pixels.
        crop_scale: Cut a part of this share of the frame's area, ``(least, most)``, and resize it to `crop`: the random
            resized crop of Szegedy et al. 2015. None: cut `crop` pixels from a random place of the frame as it is.
        crop_ratio: Width over height of the part that is cut, ``(least, most)``, where there is a `crop_scale`.
        flip: Mirror left and right with probability 1/2.
        colour_jitter: Brightness, contrast and saturation are each multiplied by a factor from
            ``[1 - colour_jitter, 1 + colour_jitter]``, at least 0, in random order; 0 is off.
        rand_augment: Magnitude, 0 to 30, of the two operations of RandAugment (Cubuk et al. 2020) that are applied, as
            torchvision scales them; 0 is off.
        erasing: Probability of random erasing (Zhong et al. 2020): one rectangle, the same in all frames, filled with
            noise that does not move, so that it shows no motion.
        interpolation: How parts are resized, with bilinear for area; turned and sheared pictures know only nearest and
            bilinear, and take bilinear for bicubic too.

    Raises:
        ValueError: A value is out of range.
    """

    crop: tuple[int, int]
    crop_scale: tuple[float, float] | None = None
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: bool = False
    colour_jitter: float = 0.0
    rand_augment: int = 0
    erasing: float = 0.0
    interpolation: Interpolation = "bilinear"

    def __post_init__(self) -> None:
        if min(self.crop) < 1:
            raise ValueError(f"crop {self.crop} must be > 0")
        if self.crop_scale is not None and not 0 < self.crop_scale[0] <= self.crop_scale[1] <= 1:
            raise ValueError(f"crop_scale {self.crop_scale} must be (least, most) in (0, 1]")
        if not 0 < self.crop_ratio[0] <= self.crop_ratio[1] < math.inf:
            raise ValueError(f"crop_ratio {self.crop_ratio} must be (least, most), > 0")
        if not 0 <= self.colour_jitter < math.inf:
            raise ValueError(f"colour_jitter ({self.colour_jitter}) must be >= 0 and finite")
        if not 0 <= self.rand_augment <= MAX_MAGNITUDE:
            raise ValueError(f"rand_augment ({self.rand_augment}) must be in [0, {MAX_MAGNITUDE}]")
        if not 0 <= self.erasing <= 1:
            raise ValueError(f"erasing ({self.erasing}) must be in [0, 1]")
        if self.interpolation not in get_args(Interpolation):
            raise ValueError(f"interpolation ({self.interpolation!r}) must be one of {get_args(Interpolation)}")


@dataclass(frozen=True, eq=False)
class AugmentedClip:
    """A clip of the training size.

    Attributes:
        pixels: uint8 (T, h, w, C), contiguous, in memory of its own.
        is_flipped: Whether left and right were exchanged.
    """

    pixels: Pixels
    is_flipped: bool


@dataclass(frozen=True)
class FlipRule:
    """Which clips may be mirrored, and which class a mirrored clip is of.

    Attributes:
        is_on: Whether clips are mirrored at all.
        mirrored_class: For each of K classes, the index of the class that its mirror image is of; taken twice, it leads
            back.
    """

    is_on: bool
    mirrored_class: tuple[int, ...]

    @classmethod
    def parse(cls, flip: Switch, pairs: Sequence[str], labels: Sequence[str]) -> FlipRule:
        """Read the user's setting.

        Args:
            flip: Whether clips are mirrored at all.
            pairs: Classes that are each other's mirror image, such as ``"turn_left=turn_right"``. All other classes
                look the same in a mirror.
            labels: Names of the K classes.

        Raises:
            ValueError: `flip` is neither, or a pair is malformed, names an unknown class, or one that it named before.
        """
        if flip not in ("on", "off"):
            raise ValueError(f"flip ({flip!r}) must be 'on' or 'off'")
        index_of = {label: index for index, label in enumerate(labels)}
        mirrored = list(range(len(labels)))
        for pair in pairs:
            names = [name.strip() for name in pair.split("=")]
            if len(names) != 2:
                raise ValueError(f"flip pair {pair!r} must be of the form 'left=right'")
            for name in names:
                if name not in index_of:
                    raise ValueError(f"flip pair {pair!r} names {name!r}, which is none of the {len(labels)} labels")
            a, b = (index_of[name] for name in names)
            if a == b or mirrored[a] != a or mirrored[b] != b:
                raise ValueError(f"flip pair {pair!r} must pair two labels that no other pair has")
            mirrored[a], mirrored[b] = b, a
        return cls(flip == "on", tuple(mirrored))

    def target(self, index: int, is_flipped: bool) -> int:
        """Return the class of a clip that is of class `index` as it was filmed."""
        return self.mirrored_class[index] if is_flipped else index

    def targets(self, targets: npt.NDArray[np.generic], is_flipped: bool) -> npt.NDArray[np.generic]:
        """Return the classes of a clip that has several: `targets` is (..., K), one value for each class."""
        return targets[..., list(self.mirrored_class)] if is_flipped else targets


def augment_clip(frames: Pixels, settings: Augmentation, seed: int) -> AugmentedClip:
    """Augment a clip.

    Args:
        frames: uint8 (T, H, W, C); may be read-only or a view, and is left as it is.
        settings: What to do.
        seed: Decides all that is random; >= 0.

    Raises:
        ValueError: The frames are not uint8 RGB, or are smaller than the crop to be cut from them.
    """
    if frames.ndim != 4 or frames.shape[3] != 3 or frames.dtype != np.uint8:
        raise ValueError(f"frames ({frames.dtype} {frames.shape}) must be uint8 (T, H, W, 3)")
    rng = np.random.default_rng([seed, _STREAM])
    cropped = _random_crop(frames, settings, rng)
    is_flipped = settings.flip and rng.random() < 0.5
    pixels = _mirrored(cropped) if is_flipped else cropped.copy()
    if settings.rand_augment or settings.colour_jitter:
        pixels = _change_picture(pixels, settings, rng)
    if settings.erasing and rng.random() < settings.erasing:
        _erase(pixels, rng)
    return AugmentedClip(pixels, is_flipped)


def prepare_augmenting(settings: Augmentation) -> None:
    """Use once all that augmenting may, so that it is loaded; of torch, much is only loaded then."""
    frames = np.zeros((1, *settings.crop, 3), np.uint8)
    if settings.rand_augment:
        import torch

        for operation in OPERATIONS:
            apply_operation(torch.from_numpy(frames).permute(0, 3, 1, 2), operation, 0.5, settings.interpolation)
    if settings.rand_augment or settings.colour_jitter:
        _change_picture(frames, settings, np.random.default_rng(0))


def apply_operation(frames: Tensor, operation: Operation, level: float, interpolation: Interpolation) -> Tensor:
    """Apply one of RandAugment's operations to all frames of a clip.

    Args:
        frames: uint8 (T, C, H, W).
        operation: One of the operations of RandAugment.
        level: Strength in [-1, 1], where 1 is magnitude 30. The sign is a direction, or more against less; operations
            that have none use the absolute value.
        interpolation: Of turned, sheared and moved pictures; what moves in from outside is black.

    Returns:
        uint8 (T, C, H, W).
    """
    from torchvision.transforms.v2 import functional

    mode = "nearest" if interpolation == "nearest" else "bilinear"

    def affine(*, translate: tuple[int, int] = (0, 0), shear: tuple[float, float] = (0.0, 0.0)) -> Tensor:
        centre = [0.0, 0.0] if any(shear) else None  # shears leave the corner in place, as AutoAugment's did
        shift, angles = list(translate), list(shear)
        moved: Tensor = functional.affine(frames, 0.0, shift, 1.0, angles, interpolation=mode, center=centre)
        return moved

    height, width = frames.shape[-2:]
    strength = abs(level)
    changed: Tensor
    match operation:
        case "identity":
            changed = frames
        case "shear_x":
            changed = affine(shear=(math.degrees(math.atan(0.3 * level)), 0.0))
        case "shear_y":
            changed = affine(shear=(0.0, math.degrees(math.atan(0.3 * level))))
        case "translate_x":
            changed = affine(translate=(int(150 * width * level / 331), 0))
        case "translate_y":
            changed = affine(translate=(0, int(150 * height * level / 331)))
        case "rotate":
            changed = functional.rotate(frames, 30 * level, interpolation=mode)
        case "brightness":
            changed = functional.adjust_brightness(frames, 1 + 0.9 * level)
        case "saturation":
            changed = functional.adjust_saturation(frames, 1 + 0.9 * level)
        case "contrast":
            changed = functional.adjust_contrast(frames, 1 + 0.9 * level)
        case "sharpness":
            changed = functional.adjust_sharpness(frames, 1 + 0.9 * level)
        case "posterize":
            changed = functional.posterize(frames, 8 - round(4 * strength))
        case "solarize":
            changed = functional.solarize(frames, 255 * (1 - strength))
        case "autocontrast":
            changed = functional.autocontrast(frames)
        case "equalize":
            changed = functional.equalize(frames)
    return changed


def _random_crop(frames: Pixels, settings: Augmentation, rng: np.random.Generator) -> Pixels:
    """Return (T, h, w, C), maybe a view of `frames`."""
    height, width = frames.shape[1:3]
    if settings.crop_scale is None:
        rows, columns = settings.crop
        if rows > height or columns > width:
            raise ValueError(
                f"crop {settings.crop} does not fit in frames of {height, width}: resize them first, or set crop_scale"
            )
        box = _placed(rows, columns, height, width, rng)
    else:
        drawn = _random_box(height, width, settings.crop_scale, settings.crop_ratio, rng)
        box = drawn or _central_box(height, width, settings.crop_ratio)
    top, left, rows, columns = box
    part = frames[:, top : top + rows, left : left + columns]
    if (rows, columns) == settings.crop:
        return part
    resized = np.empty((len(part), *settings.crop, 3), np.uint8)
    for frame, target in zip(part, resized, strict=True):
        cv2.resize(frame, settings.crop[::-1], dst=target, interpolation=_INTERPOLATION[settings.interpolation])
    return resized


def _placed(rows: int, columns: int, height: int, width: int, rng: np.random.Generator) -> Box:
    top, left = rng.integers((height - rows + 1, width - columns + 1))
    return int(top), int(left), rows, columns


def _random_box(
    height: int, width: int, scale: tuple[float, float], ratio: tuple[float, float], rng: np.random.Generator
) -> Box | None:
    """Draw a box by its share of the area and its width over height; None where no try gave one that fits."""
    low, high = math.log(ratio[0]), math.log(ratio[1])
    for _ in range(_NUM_TRIES):
        area = height * width * (scale[0] + (scale[1] - scale[0]) * rng.random())
        drawn = math.exp(low + (high - low) * rng.random())
        rows, columns = round(math.sqrt(area / drawn)), round(math.sqrt(area * drawn))
        if 0 < rows <= height and 0 < columns <= width:
            return _placed(rows, columns, height, width, rng)
    return None


def _central_box(height: int, width: int, ratio: tuple[float, float]) -> Box:
    """Return the largest box in the centre that has an allowed width over height."""
    rows = min(height, max(1, round(width / ratio[0])))
    columns = min(width, max(1, round(height * ratio[1])))
    return (height - rows) // 2, (width - columns) // 2, rows, columns


def _mirrored(clip: Pixels) -> Pixels:
    # Twenty times as fast as numpy's copy of a view with a negative stride, which moves three bytes at a time.
    mirrored = np.empty(clip.shape, np.uint8)
    for frame, target in zip(clip, mirrored, strict=True):
        cv2.flip(frame, 1, dst=target)
    return mirrored


def _change_picture(pixels: Pixels, settings: Augmentation, rng: np.random.Generator) -> Pixels:
    import torch

    frames = torch.from_numpy(pixels).permute(0, 3, 1, 2)  # (T, h, w, C) -> (T, C, h, w)
    if settings.rand_augment:
        for _ in range(NUM_OPERATIONS):
            operation = OPERATIONS[int(rng.integers(len(OPERATIONS)))]
            level = settings.rand_augment / MAX_MAGNITUDE * (-1 if rng.random() < 0.5 else 1)
            frames = apply_operation(frames, operation, level, settings.interpolation)
    if settings.colour_jitter:
        frames = _jitter_colours(frames, settings.colour_jitter, rng)
    return np.ascontiguousarray(frames.permute(0, 2, 3, 1).numpy())  # (T, C, h, w) -> (T, h, w, C)


def _jitter_colours(frames: Tensor, strength: float, rng: np.random.Generator) -> Tensor:
    from torchvision.transforms.v2 import functional

    adjustments = (functional.adjust_brightness, functional.adjust_contrast, functional.adjust_saturation)
    for index in rng.permutation(len(adjustments)):
        factor = max(0.0, 1 + strength * (2 * rng.random() - 1))
        frames = adjustments[index](frames, factor)
    return frames


def _erase(pixels: Pixels, rng: np.random.Generator) -> None:
    height, width = pixels.shape[1:3]
    box = _random_box(height, width, ERASED_AREA, ERASED_RATIO, rng)
    if box is not None:
        top, left, rows, columns = box
        noise = rng.integers(0, 256, (rows, columns, 3), dtype=np.uint8)
        pixels[:, top : top + rows, left : left + columns] = noise

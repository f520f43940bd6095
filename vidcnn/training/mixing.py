"""Mixup and cutmix: a batch whose samples are blended in pairs, and their targets with them.

Takes the clips and targets of a batch, on whatever device trains; returns clips and targets of the same shapes.

Samples are paired by their global numbers, (2j, 2j + 1), and what happens to a pair is a pure function of the seed and
j. So a sample sees the same partner and the same blend however many workers share the batch:

    one worker     0 1 | 2 3 | 4 5 | 6 7
    two workers    0 1 | 2 3     4 5 | 6 7

mixup: Zhang et al. 2018, https://arxiv.org/abs/1710.09412; cutmix: Yun et al. 2019, https://arxiv.org/abs/1905.04899.

Letters: N samples (clips), C channels, T frames, H height, W width, K classes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

_STREAM = 0x6D6978
"""Keeps the draws apart from those that other modules make with the same seed and numbers."""


@dataclass(frozen=True)
class Mixing:
    """How samples are mixed; where both are on, each pair gets one of the two with probability 1/2.

    Args:
        mixup_alpha: The share of a sample in its blend is drawn from Beta(alpha, alpha); 0 turns mixup off.
        cutmix_alpha: The share of a frame's area that a sample keeps is drawn likewise; 0 turns cutmix off.

    Raises:
        ValueError: A value is negative or not finite.
    """

    mixup_alpha: float = 0.0
    cutmix_alpha: float = 0.0

    def __post_init__(self) -> None:
        for name in ("mixup_alpha", "cutmix_alpha"):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise ValueError(f"{name} ({value}) must be >= 0 and finite")

    @property
    def is_on(self) -> bool:
        """Whether anything is mixed."""
        return self.mixup_alpha > 0 or self.cutmix_alpha > 0


@dataclass(frozen=True)
class _Blend:
    """What happens to one pair.

    Attributes:
        share: What a sample keeps of itself, lambda, in [0, 1].
        box: The part of each frame that cutmix exchanges, (rows, columns); None: mixup.
    """

    share: float
    box: tuple[slice, slice] | None


def mix(clips: Tensor, targets: Tensor, first_sample: int, seed: int, mixing: Mixing) -> tuple[Tensor, Tensor]:
    """Mix the samples of a batch, or of a worker's part of it, in pairs.

    With lambda the share of a pair, both of its samples become ``lambda * own + (1 - lambda) * partner``; cutmix cuts
    the same box from all frames of both, and its lambda is that of the box as cut, in whole pixels.

    Args:
        clips: Floating (N, C, T, H, W), N even; left as it is.
        targets: Floating (N, K): shares of classes (one-hot, or smoothed), or several labels to a sample (multi-hot).
        first_sample: Global number of the first sample, even; the others follow it.
        seed: Seed of the run, >= 0.
        mixing: Strengths of mixup and cutmix.

    Returns:
        The mixed clips, in the memory format that they had, and their targets; the arguments themselves where `mixing`
        is off.

    Raises:
        ValueError: A pair would be torn apart, or a shape or type does not fit.
    """
    if clips.ndim != 5 or targets.ndim != 2 or len(clips) != len(targets):
        raise ValueError(
            f"clips {tuple(clips.shape)} and targets {tuple(targets.shape)}: must be (N, C, T, H, W) and (N, K)"
        )
    if not (clips.is_floating_point() and targets.is_floating_point()):
        raise ValueError(f"clips ({clips.dtype}) and targets ({targets.dtype}) must be floating point")
    if len(clips) % 2 or first_sample % 2 or first_sample < 0:
        raise ValueError(
            f"{len(clips)} samples from number {first_sample} on are not whole pairs: both must be even, and >= 0"
        )
    if not mixing.is_on:
        return clips, targets

    mixed_clips, mixed_targets = clips.clone(), targets.clone()
    height, width = clips.shape[-2:]
    for a in range(0, len(clips), 2):
        blend = _draw_blend(seed, (first_sample + a) // 2, mixing, height, width)
        for own, partner in ((a, a + 1), (a + 1, a)):
            if blend.box is None:
                mixed_clips[own] = _blended(clips[own], clips[partner], blend.share)
            else:
                mixed_clips[own][..., *blend.box] = clips[partner][..., *blend.box]
            mixed_targets[own] = _blended(targets[own], targets[partner], blend.share)
    return mixed_clips, mixed_targets


def _blended(own: Tensor, partner: Tensor, share: float) -> Tensor:
    # Not lerp: fused kernels round by where an element is in the batch, and a batch split in two must not show.
    return own * share + partner * (1 - share)


def _draw_blend(seed: int, pair: int, mixing: Mixing, height: int, width: int) -> _Blend:
    rng = np.random.default_rng([seed, pair, _STREAM])
    is_cutmix = rng.random() < 0.5 if mixing.mixup_alpha and mixing.cutmix_alpha else mixing.cutmix_alpha > 0
    if not is_cutmix:
        return _Blend(float(rng.beta(mixing.mixup_alpha, mixing.mixup_alpha)), None)
    drawn = float(rng.beta(mixing.cutmix_alpha, mixing.cutmix_alpha))
    rows = _cut(height, math.sqrt(1 - drawn), int(rng.integers(height)))
    columns = _cut(width, math.sqrt(1 - drawn), int(rng.integers(width)))
    area = (rows.stop - rows.start) * (columns.stop - columns.start)
    return _Blend(1 - area / (height * width), (rows, columns))


def _cut(size: int, share: float, centre: int) -> slice:
    """Return the box's extent along one side: `share` of `size` around `centre`, as far as it is in the frame."""
    half = int(size * share / 2)
    return slice(max(0, centre - half), min(size, centre + half))

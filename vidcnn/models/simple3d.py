"""`Simple3D`: the small convolutional network of the textbooks, in three dimensions.

Takes float ``(N, 3, T, H, W)``, returns logits ``(N, K)``::

    block 1   conv 3x3x3, ReLU, halve H and W       (N,  32, T,   H/2, W/2)
    block 2   conv 3x3x3, ReLU, halve T, H and W    (N,  64, T/2, H/4, W/4)
    block 3   conv 3x3x3, ReLU, halve T, H and W    (N, 128, T/4, H/8, W/8)
    average over T, H, W                            (N, 128)
    dense 256, ReLU, dropout 0.5                    (N, 256)    the embedding
    dense                                           (N, K)

The first block leaves T alone, as C3D does (Tran et al. 2015): motion is seen at full rate before it is
averaged. Where its `input_mode` has differences, block 1 takes ``(N, 2, T - 1, H, W)``, or with the frames 5 channels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vidcnn.bounds import MAX_CHANNELS, MAX_LAYERS
from vidcnn.choices import Downsample, InputMode

_GAIN = 2.0
"""Differences between frames spread less than the frames themselves, by several times."""


class FrameDifferences(nn.Module):
    """How much brighter each pixel becomes from a frame to the next, and how much it changes at all.

    A convolution could learn the magnitude from the difference, but from few videos it does not: the mean of the
    differences over any area is nearly zero, and the mean of their magnitude is how much moves there.

    Args:
        keeps_frames: Whether the frames stay beside their differences.
    """

    def __init__(self, *, keeps_frames: bool) -> None:
        super().__init__()
        self.keeps_frames = keeps_frames

    def forward(self, clips: Tensor) -> Tensor:
        """Map float ``(N, C, T, H, W)`` to ``(N, 2, T - 1, H, W)``: differences, then their magnitudes.

        The frames, all but the first, come before them if they stay: ``(N, C + 2, T - 1, H, W)``.

        Raises:
            ValueError: There is a single frame.
        """
        if clips.shape[2] < 2:
            raise ValueError(f"num_frames ({clips.shape[2]}) must be > 1 where the network sees differences")
        brightness = clips.mean(dim=1, keepdim=True)
        differences = _GAIN * (brightness[:, :, 1:] - brightness[:, :, :-1])
        frames = [clips[:, :, 1:]] if self.keeps_frames else []
        return torch.cat([*frames, differences, differences.abs()], dim=1)


class Simple3D(nn.Module):
    """A stack of 3x3x3 convolutions, an average over space and time, and a dense head.

    Args:
        num_classes: Number of classes, K.
        channels: Output channels of each block; their number is the network's depth.
        width: Factor on all of `channels`, rounded to whole channels.
        convs_per_block: Convolutions in each block.
        hidden: Size of the dense layer, which is that of the embedding, D.
        dropout: Share of the embedding's values dropped in training.
        downsample: ``max`` ends each block with max pooling; ``strided`` gives its last convolution a stride
            instead.
        batch_norm: Whether batch normalisation is between each convolution and its ReLU.
        input_mode: What the first convolution takes: the ``frames``, their ``differences`` alone (`FrameDifferences`:
            motion without the scene), or ``both``.

    Raises:
        ValueError: A size is not positive or absurdly large, `dropout` is not in [0, 1), or `downsample` or
            `input_mode` is unknown.
    """

    def __init__(
        self,
        *,
        num_classes: int,
        channels: Sequence[int] = (32, 64, 128),
        width: float = 1.0,
        convs_per_block: int = 1,
        hidden: int = 256,
        dropout: float = 0.5,
        downsample: Downsample = "max",
        batch_norm: bool = False,
        input_mode: InputMode = "frames",
    ) -> None:
        super().__init__()
        if min(channels, default=0) < 1 or width <= 0:
            raise ValueError(f"channels ({tuple(channels)}) and width ({width}) must be > 0")
        if min(num_classes, convs_per_block, hidden) < 1:
            sizes = f"num_classes ({num_classes}), convs_per_block ({convs_per_block}) and hidden ({hidden})"
            raise ValueError(f"{sizes} must be > 0")
        if max(len(channels), convs_per_block) > MAX_LAYERS:
            raise ValueError(
                f"blocks ({len(channels)}) and convs_per_block ({convs_per_block}) must be <= {MAX_LAYERS}"
            )
        widest = max(hidden, max(channels) * max(width, 1))
        if not widest <= MAX_CHANNELS:
            raise ValueError(f"hidden and each of channels ({widest:g} at most) must be <= {MAX_CHANNELS}")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout ({dropout}) must be in [0, 1)")
        if downsample not in ("max", "strided"):
            raise ValueError(f"downsample ({downsample!r}) must be 'max' or 'strided'")
        widths = [max(1, round(number * width)) for number in channels]
        if input_mode not in ("frames", "differences", "both"):
            raise ValueError(f"input_mode ({input_mode!r}) must be 'frames', 'differences' or 'both'")
        self.front = nn.Identity() if input_mode == "frames" else FrameDifferences(keeps_frames=input_mode == "both")
        num_channels = {"frames": 3, "differences": 2, "both": 5}[input_mode]
        blocks: list[nn.Module] = []
        for index, (num_in, num_out) in enumerate(zip([num_channels, *widths[:-1]], widths, strict=True)):
            factors = (1, 2, 2) if index == 0 else (2, 2, 2)
            blocks.append(_block(num_in, num_out, convs_per_block, factors, downsample, batch_norm))
        self.features = nn.Sequential(*blocks)
        self.pool = nn.AdaptiveAvgPool3d(1)
        self.hidden = nn.Linear(widths[-1], hidden)
        self.relu = nn.ReLU(inplace=True)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(hidden, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv3d | nn.Linear):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.normal_(self.classifier.weight, std=0.01)

    def forward(self, clips: Tensor) -> Tensor:
        """Map normalised clips, float ``(N, 3, T, H, W)``, to logits ``(N, K)``."""
        pooled = self.pool(self.features(self.front(clips))).flatten(1)
        embedding = self.dropout(self.relu(self.hidden(pooled)))
        logits: Tensor = self.classifier(embedding)
        return logits


def _block(
    num_in: int,
    num_out: int,
    num_convs: int,
    factors: tuple[int, int, int],
    downsample: Downsample,
    batch_norm: bool,
) -> nn.Sequential:
    """Build one block, which divides T, H and W by `factors`, rounding up: a single frame stays one frame."""
    layers: list[nn.Module] = []
    for index in range(num_convs):
        is_last = index == num_convs - 1
        stride = factors if is_last and downsample == "strided" else 1
        layers.append(nn.Conv3d(num_in if index == 0 else num_out, num_out, 3, stride, padding=1, bias=not batch_norm))
        if batch_norm:
            layers.append(nn.BatchNorm3d(num_out))
        layers.append(nn.ReLU(inplace=True))
    if downsample == "max":
        layers.append(nn.MaxPool3d(factors, ceil_mode=True))
    return nn.Sequential(*layers)

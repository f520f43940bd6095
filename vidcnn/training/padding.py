"""Convolutions that write their padding out, where the CPU computes gradients in bfloat16 wrongly without.

oneDNN's kernel ``jit_bf16:avx512_core_bf16`` for the gradient of a convolution's weights (seen in 3.13.3, the one of
torch 2.15) leaves parts of its result as it found the memory, and may write past its end, where along some axis no
place of the kernel is wholly in the clip. So it is in r3d_18's last stage, of two frames under a kernel of three::

    frames             . 0 1 .        . is padding
    first place        k k k
    second place         k k k

What was in that memory is mostly small, now and then no number, and always wrong. With the padding written out as
frames of zeros, every place is wholly in the clip, and the result is the same. Other precisions, and the other
kernels of a convolution, were tried with memory full of NaN, and are right.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import conv3d, pad

Triple = tuple[int, int, int]


class PaddedConv3d(nn.Conv3d):
    """A convolution with the parameters of another one, which writes its padding out where a gradient needs it.

    Args:
        other: The other one; it pads with zeros.
    """

    def __init__(self, other: nn.Conv3d) -> None:
        super().__init__(
            other.in_channels,
            other.out_channels,
            cast(Triple, other.kernel_size),
            cast(Triple, other.stride),
            cast(Triple, other.padding),
            cast(Triple, other.dilation),
            other.groups,
            bias=False,
            device="meta",
        )
        self.weight, self.bias = other.weight, other.bias
        self.train(other.training)

    def forward(self, input: Tensor) -> Tensor:
        """Map ``(N, C, T, H, W)`` as the other convolution does."""
        spans = [step * (size - 1) + 1 for size, step in zip(self.kernel_size, self.dilation, strict=True)]
        padding = cast(Triple, self.padding)
        is_safe = all(map(lies_within, input.shape[2:], spans, self.stride, padding))
        if is_safe or not (torch.is_grad_enabled() and self.weight.requires_grad):
            return super().forward(input)
        depth, height, width = padding
        padded = pad(input, (width, width, height, height, depth, depth))
        return conv3d(padded, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


def lies_within(size: int, span: int, stride: int, padding: int) -> bool:
    """Return whether some place of a kernel along an axis touches no padding.

    Args:
        size: Frames, rows or columns, without the padding.
        span: What the kernel covers of them.
        stride: Distance between places.
        padding: Zeros on either side.
    """
    first = -(-padding // stride) * stride - padding  # where the first place begins that touches none on the left
    return first + span <= size


def write_padding_out(network: nn.Module) -> None:
    """Replace a network's convolutions with `PaddedConv3d`, in place; its parameters stay, and so do their names."""
    for owner in list(network.modules()):
        for name, child in owner.named_children():
            if isinstance(child, nn.Conv3d) and _pads_with_zeros(child):
                setattr(owner, name, PaddedConv3d(child))


def _pads_with_zeros(layer: nn.Conv3d) -> bool:
    is_numbers = isinstance(layer.padding, Sequence) and not isinstance(layer.padding, str)
    return (
        type(layer).forward is nn.Conv3d.forward and layer.padding_mode == "zeros" and is_numbers and any(layer.padding)
    )

"""The arithmetic of int8 networks on the CPU, and the only place that calls torch's operators for it.

A quantized tensor is a plain uint8 tensor in channels_last_3d, with a `Scale` that gives its values their meaning::

    value = step * (byte - zero)

Convolutions are oneDNN's (``torch.ops.onednn``, the operators that torch's own compiler calls): uint8 activations,
int8 weights with a step for each output channel, int32 sums. Their sums are exact, so neither the number of threads nor
what shares a batch changes a bit. A ReLU costs nothing: where `zero` is 0, bytes cannot be negative. OpenCV adds what
skip connections bring. Torch's quantized tensors (``torch.quint8``), which are to be removed, are not used.

Letters: N clips, C channels, T frames, H height, W width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vidcnn.inference.devices import cpu_features

MAX_BYTE = 255
MAX_WEIGHT = 127
_CHUNK = 1 << 18
"""Values that are worked on at a time, so that what is between two steps stays in the processor's cache."""
_OPERATORS = ("qconv_prepack", "qconv_pointwise")
_HARDWARE = frozenset(("avx512_vnni", "avx_vnni", "amx_int8"))


@dataclass(frozen=True)
class Scale:
    """What the bytes of a quantized tensor mean.

    Attributes:
        step: Difference in value between two neighbouring bytes.
        zero: The byte that means 0.
    """

    step: float
    zero: int = 0

    def __post_init__(self) -> None:
        if not (0 < self.step < float("inf")) or not 0 <= self.zero <= MAX_BYTE:
            raise ValueError(f"step ({self.step}) must be positive and zero ({self.zero}) a byte")

    @classmethod
    def of_range(cls, low: float, high: float) -> Scale:
        """Return the scale whose bytes cover a range of values, and 0."""
        low, high = min(low, 0.0), max(high, 0.0)
        step = max((high - low) / MAX_BYTE, 1e-12)
        return cls(step, min(MAX_BYTE, max(0, round(-low / step))))


def as_scales(pairs: Mapping[str, tuple[float, int]]) -> dict[str, Scale]:
    """Return the scales that a `vidcnn.models.quantization.Quantization` has as pairs of step and zero.

    Raises:
        ValueError: A pair means nothing.
    """
    return {name: Scale(step, zero) for name, (step, zero) in pairs.items()}


def as_pairs(scales: Mapping[str, Scale]) -> dict[str, tuple[float, int]]:
    """Undo `as_scales`."""
    return {name: (scale.step, scale.zero) for name, scale in scales.items()}


def why_no_int8() -> str | None:
    """Return why int8 networks do not run, or are not worth it, in this process; None where they are."""
    missing = [name for name in _OPERATORS if not hasattr(torch.ops.onednn, name)]
    if not torch.backends.mkldnn.is_available() or missing:  # type: ignore[no-untyped-call]
        return f"torch {torch.__version__} has no int8 convolutions ({', '.join(missing) or 'built without oneDNN'})"
    if not cpu_features() & _HARDWARE:
        return "the processor does not multiply int8 (it has no VNNI)"
    return None


def rounded_weight(conv: nn.Conv3d) -> tuple[Tensor, Tensor]:
    """Return a convolution's weights as int8 ``(O, I, kT, kH, kW)``, and the step of each output channel ``(O,)``."""
    weight = conv.weight.detach().float()
    step = weight_steps(weight)
    return (weight / step.view(-1, 1, 1, 1, 1)).round().to(torch.int8), step


def weight_steps(weight: Tensor) -> Tensor:
    """Return the step of each output channel ``(O,)`` with which weights ``(O, I, kT, kH, kW)`` are rounded."""
    return (weight.abs().amax(dim=(1, 2, 3, 4)) / MAX_WEIGHT).clamp(min=1e-12)


class IntegerConv3d(nn.Module):
    """A 3D convolution over bytes.

    Args:
        conv: The convolution; zeros are what it is padded with.
        taken: Scale of its input.
        given: Scale of its output; None gives float32 instead of bytes.
        correction: What is added to each channel of its output.
    """

    def __init__(
        self, conv: nn.Conv3d, taken: Scale, given: Scale | None, correction: Sequence[float] | None = None
    ) -> None:
        super().__init__()
        self._weight, step = rounded_weight(conv)
        bias = torch.zeros(len(step)) if conv.bias is None else conv.bias.detach().float()
        if correction is not None:
            bias = bias + torch.tensor(correction)
        self.taken, self.given = taken, given
        padding: Any = conv.padding
        self._stride, self._padding, self._dilation = list(conv.stride), list(padding), list(conv.dilation)
        self._groups = conv.groups
        self._step, self._bias, self._weight_zero = step, bias, torch.zeros(len(step), dtype=torch.long)
        self._packed: tuple[torch.Size, Tensor] | None = None

    def forward(self, values: Tensor) -> Tensor:
        """Map uint8 ``(N, C, T, H, W)`` to uint8 or float32 of the same layout, in channels_last_3d."""
        given = self.given or Scale(1.0)
        convolved: Tensor = torch.ops.onednn.qconv_pointwise(
            values,
            self.taken.step,
            self.taken.zero,
            self._packed_for(values.shape),
            self._step,
            self._weight_zero,
            self._bias,
            self._stride,
            self._padding,
            self._dilation,
            self._groups,
            given.step,
            given.zero,
            torch.float32 if self.given is None else torch.uint8,
            "none",
            [],
            "",
        )
        return convolved

    def _packed_for(self, shape: torch.Size) -> Tensor:
        """Return the weights in the order that the kernel for a shape wants: it would reorder others in each call."""
        known = self._packed  # other threads may put others there
        if known is None or known[0] != shape:
            packed = torch.ops.onednn.qconv_prepack(
                self._weight,
                self._step,
                self.taken.step,
                self.taken.zero,
                self._stride,
                self._padding,
                self._dilation,
                self._groups,
                list(shape),
            )
            known = self._packed = shape, packed
        return known[1]


class Quantize(nn.Module):
    """From values to bytes.

    Args:
        scale: What the bytes mean.
    """

    def __init__(self, scale: Scale) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, values: Tensor) -> Tensor:
        """Map a float tensor ``(N, C, T, H, W)`` to uint8."""
        return _in_chunks(values, torch.uint8, self._work)

    def _work(self, values: Tensor, results: Tensor) -> None:
        results.copy_(values).mul_(1 / self.scale.step).add_(self.scale.zero)


class AddRelu(nn.Module):
    """The sum of two tensors, without what is below 0, as bytes.

    Args:
        first: Scale of the first; None where it has float values.
        second: Scale of the second; None where it has float values.
        given: Scale of the sum, whose `zero` is 0.
    """

    def __init__(self, first: Scale | None, second: Scale | None, given: Scale) -> None:
        super().__init__()
        scales = [scale or Scale(1.0) for scale in (first, second)]
        self._factors = [scale.step / given.step for scale in scales]
        self._zeros = sum(scale.zero * factor for scale, factor in zip(scales, self._factors, strict=True))

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Add uint8 or float32 tensors of one shape ``(N, C, T, H, W)``, and return uint8."""
        result = torch.empty_like(first, dtype=torch.uint8, memory_format=torch.channels_last_3d)
        # In one pass, where torch needs seven. Clip by clip: what is left at the end of an array is added by other
        # instructions, and that must not depend on how many clips there are.
        for one, other, added in zip(first, second, result, strict=True):
            cv2.addWeighted(
                _lines(one), self._factors[0], _lines(other), self._factors[1], -self._zeros, _lines(added), cv2.CV_8U
            )
        return result


class Dequantize(nn.Module):
    """From bytes to float values.

    Args:
        scale: What the bytes mean.
        dtype: Type of the values.
    """

    def __init__(self, scale: Scale, dtype: torch.dtype) -> None:
        super().__init__()
        self.scale, self.dtype = scale, dtype

    def forward(self, values: Tensor) -> Tensor:
        """Map uint8 ``(N, C, T, H, W)`` to floats."""
        return _in_chunks(values, self.dtype, self._work)

    def _work(self, values: Tensor, results: Tensor) -> None:
        results.copy_(values).sub_(self.scale.zero).mul_(self.scale.step)


class MaxPool(nn.Module):
    """Maximum pooling of bytes whose `zero` is 0, which torch has for floats alone.

    Args:
        pool: The pooling layer.
    """

    def __init__(self, pool: nn.MaxPool3d) -> None:
        super().__init__()
        self.sizes, self.strides, self.paddings = (
            _triple(value) for value in (pool.kernel_size, pool.stride, pool.padding)
        )
        self.ceil_mode = pool.ceil_mode

    def forward(self, values: Tensor) -> Tensor:
        """Map uint8 ``(N, C, T, H, W)`` to uint8, one dimension after the other."""
        for dim, size, stride, padding in zip((2, 3, 4), self.sizes, self.strides, self.paddings, strict=True):
            if size > 1 or stride > 1:
                values = self._along(values, dim, size, stride, padding)
        return values.contiguous(memory_format=torch.channels_last_3d)

    def _along(self, values: Tensor, dim: int, size: int, stride: int, padding: int) -> Tensor:
        length = values.shape[dim]
        spare = length + 2 * padding - size
        count = spare // stride + 1
        if self.ceil_mode and spare % stride and count * stride < length + padding:
            count += 1  # the last window begins within the tensor, and reaches past its end
        reach = (count - 1) * stride + size
        behind = max(0, reach - padding - length)
        if padding or behind:
            padded = [0, 0] * (4 - dim) + [padding, behind]
            values = nn.functional.pad(values, padded)
        steps = [values.narrow(dim, first, (count - 1) * stride + 1) for first in range(size)]
        index = [slice(None)] * 5
        index[dim] = slice(None, None, stride)
        windows = [step[tuple(index)] for step in steps]
        largest = windows[0]
        for window in windows[1:]:
            largest = torch.maximum(largest, window)
        return largest


def can_pool(pool: nn.Module) -> bool:
    """Return whether `MaxPool` does what a layer does."""
    return isinstance(pool, nn.MaxPool3d) and set(_triple(pool.dilation)) == {1} and not pool.return_indices


def _triple(value: Any) -> tuple[int, int, int]:
    return (value, value, value) if isinstance(value, int) else tuple(value)


def _lines(values: Tensor) -> NDArray[Any]:
    """Return a clip's values ``(C, T, H, W)`` as they lie in memory: a line for each row, ``(T * H, W * C)``."""
    lines: NDArray[Any] = values.permute(1, 2, 3, 0).flatten(2).flatten(0, 1).numpy()
    return lines


def _in_chunks(values: Tensor, dtype: torch.dtype, work: Callable[[Tensor, Tensor], None]) -> Tensor:
    """Compute a tensor from another of its shape, a part at a time.

    Args:
        values: What it is computed from.
        dtype: Type of the result; uint8 values are rounded, and kept within bytes.
        work: Takes a part of `values`, and leaves float32 results in another tensor.
    """
    result = torch.empty_like(values, dtype=dtype, memory_format=torch.channels_last_3d)
    flat = result.permute(0, 2, 3, 4, 1).view(-1)
    taken = values.contiguous(memory_format=torch.channels_last_3d).permute(0, 2, 3, 4, 1).view(-1)
    floats = torch.empty(min(_CHUNK, len(flat)))
    whole = torch.empty(len(floats), dtype=torch.int32)
    for start in range(0, len(flat), _CHUNK):
        part = flat[start : start + _CHUNK]
        here = floats[: len(part)]
        work(taken[start : start + _CHUNK], here)
        if dtype == torch.uint8:
            # By way of int32, which is twice as fast; it is cut off towards 0, so a half is added.
            part.copy_(whole[: len(part)].copy_(here.add_(0.5).clamp_(0, MAX_BYTE + 0.5)))
        else:
            part.copy_(here)
    return result

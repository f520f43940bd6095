"""From a bundle whose scores change much by rounding to one with other weights, for which they change less.

The student is the integer network in floats: it rounds its weights and the values between its layers as that does, and
gradients pass through the rounding as if it were not there (Jacob et al. 2018, https://arxiv.org/abs/1712.05877). Its
teacher is the network that it was made from, so videos need no labels, and what it learns is to give the same scores
(Mishra and Marr 2018, https://arxiv.org/abs/1711.05852). The scales stay as they were calibrated.

Letters: N clips, O channels of a convolution's output, K classes.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, conv3d, cross_entropy

from vidcnn.inference.float_network import FloatNetwork
from vidcnn.inference.int8_network import Layers, integer_network
from vidcnn.inference.int8_ops import MAX_BYTE, MAX_WEIGHT, Scale, as_scales, weight_steps
from vidcnn.inference.network import batch_norms
from vidcnn.models.build import build_model, split_head
from vidcnn.models.bundle import Bundle
from vidcnn.models.quantization import Quantization
from vidcnn.models.registry import architecture
from vidcnn.video.pixels import UInt8Array

_BATCH_SIZE = 8
_LEARNING_RATE = 3e-4
"""Of Adam, as a share of the spread of a layer's weights: layers whose weights are large have coarse steps."""
_HELD_OUT = 4
"""One clip in so many is not learnt from: by these, the best epoch is chosen."""


def tune(
    bundle: Bundle,
    quantization: Quantization,
    clips: UInt8Array,
    *,
    num_epochs: int,
    seed: int = 0,
    tell: Callable[[str], None] = lambda text: None,
) -> Bundle:
    """Fine-tune a bundle's convolutions for the rounding of its int8 form.

    Args:
        bundle: The model, and the teacher.
        quantization: How it computes in int8; its scales and corrections stay.
        clips: Clips like those that it will classify, uint8 ``(N, T, H, W, 3)``.
        num_epochs: How often each clip is seen.
        seed: Order of the clips.
        tell: Takes what is being done, in words for people.

    Returns:
        The bundle with the weights of the epoch that comes nearest on clips that were not learnt from; the bundle
        itself if none comes nearer than its own weights do.
    """
    teacher = FloatNetwork(bundle, clips)
    student = _Student(bundle, quantization, teacher)
    with torch.inference_mode():
        targets = torch.cat([_scores(teacher.head(teacher.traced(batch)), bundle) for batch in teacher.batches()])
    targets = targets.clone()  # what inference mode makes cannot be learnt from
    held_out = np.arange(0, len(clips), _HELD_OUT)
    learnt = np.setdiff1d(np.arange(len(clips)), held_out)
    if not len(learnt):
        return bundle
    optimizer = torch.optim.Adam(student.groups())
    num_steps = num_epochs * -(-len(learnt) // _BATCH_SIZE)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, num_steps)
    random = np.random.default_rng(seed)
    nearest, best = student.distance(held_out, targets), bundle
    for epoch in range(num_epochs):
        tell(f"fine-tuning: epoch {epoch + 1} of {num_epochs}, {nearest:.2%} of the probability moves so far")
        order = random.permutation(learnt)
        for start in range(0, len(order), _BATCH_SIZE):
            some = order[start : start + _BATCH_SIZE]
            optimizer.zero_grad()
            student.loss(some, targets[some]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            decay.step()
        distance = student.distance(held_out, targets)
        if distance < nearest:
            nearest, best = distance, student.bundle()
    return best


class _Student:
    """The integer network in floats, with weights that learn.

    Args:
        bundle: The model.
        quantization: How it computes in int8.
        teacher: Its float network.
    """

    def __init__(self, bundle: Bundle, quantization: Quantization, teacher: FloatNetwork) -> None:
        self._bundle = bundle
        self._teacher = teacher
        backbone, _ = split_head(build_model(bundle), architecture(bundle.architecture))
        self._norms = batch_norms(backbone)
        self._layers: dict[str, _RoundedConv3d] = {}

        def convolve(
            name: str, folded: nn.Conv3d, _: Scale, given: Scale | None, correction: Sequence[float] | None
        ) -> nn.Module:
            layer = self._layers.get(name)
            if layer is None:
                weight: Any = backbone.get_submodule(name).weight
                norm: Any = backbone.get_submodule(self._norms[name]) if name in self._norms else None
                self._layers[name] = layer = _RoundedConv3d(folded, weight, norm, correction)
            return _Given(layer, given)

        layers = Layers(
            convolve=convolve,
            add=lambda first, second, given: _RoundedSum(given),
            pool=copy.deepcopy,
            quantize=_Rounded,
            dequantize=lambda scale: nn.Identity(),
        )
        self._network = integer_network(
            teacher.traced, as_scales(quantization.scales), quantization.kept, quantization.corrections, layers
        )

    def groups(self) -> list[dict[str, Any]]:
        """Return what is learnt, with the rate of each layer."""
        return [
            {"params": list(layer.parameters()), "lr": _LEARNING_RATE * max(float(layer.weight.detach().std()), 1e-12)}
            for layer in self._layers.values()
        ]

    def loss(self, some: NDArray[np.int64], targets: Tensor) -> Tensor:
        """Return how far the logits of some clips are from the teacher's scores ``(n, K)``."""
        logits = self._teacher.head(self._network(self._teacher.batch(some)))
        if self._bundle.multi_label:
            return binary_cross_entropy_with_logits(logits, targets)
        return cross_entropy(logits, targets)

    def distance(self, some: NDArray[np.int64], targets: Tensor) -> float:
        """Return how much probability is moved in some clips, on average."""
        moved = 0.0
        with torch.inference_mode():
            for start in range(0, len(some), _BATCH_SIZE):
                part = some[start : start + _BATCH_SIZE]
                scores = _scores(self._teacher.head(self._network(self._teacher.batch(part))), self._bundle)
                moved += float((scores - targets[part]).abs().sum()) / 2
        return moved / len(some)

    def bundle(self) -> Bundle:
        """Return the bundle with what was learnt."""
        from safetensors.torch import load, save

        state = load(self._bundle.weights)
        for name, layer in self._layers.items():
            for key, value in layer.learnt(name, self._norms.get(name)).items():
                assert state[key].shape == value.shape
                state[key] = value.to(state[key].dtype)
        return replace(self._bundle, weights=save(state), golden=None)


class _RoundedConv3d(nn.Module):
    """A convolution with rounded weights, which learns those that it has before batch normalisation is folded in.

    Args:
        folded: The convolution with batch normalisation folded in.
        weight: Its weights before that, ``(O, I, kT, kH, kW)``.
        norm: The batch normalisation; None where there is none.
        correction: What is added to each channel of its output.
    """

    def __init__(
        self, folded: nn.Conv3d, weight: Tensor, norm: nn.BatchNorm3d | None, correction: Sequence[float] | None
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.detach().clone(memory_format=torch.channels_last_3d))
        self.shift = nn.Parameter(torch.zeros(len(weight)))
        factor, self._first_shift = torch.ones(len(weight)), None
        if norm is not None:
            assert norm.running_var is not None
            factor = norm.weight.detach() * torch.rsqrt(norm.running_var + norm.eps)
            self._first_shift = norm.bias.detach()
        elif folded.bias is not None:
            self._first_shift = folded.bias.detach()
        else:
            self.shift.requires_grad_(False)  # there is nowhere to keep it
        self._factor = factor
        bias = torch.zeros(len(weight)) if folded.bias is None else folded.bias.detach().float()
        self._bias = bias if correction is None else bias + torch.tensor(correction)
        self._zeros = torch.zeros(len(weight), dtype=torch.int32)
        padding: Any = folded.padding
        self._options: tuple[Any, ...] = (folded.stride, padding, folded.dilation, folded.groups)

    def forward(self, values: Tensor) -> Tensor:
        """Map float32 ``(N, C, T, H, W)`` to the same, of other channels and size."""
        weight = self.weight * self._factor.view(-1, 1, 1, 1, 1)
        steps = weight_steps(weight.detach())
        rounded = torch.fake_quantize_per_channel_affine(weight, steps, self._zeros, 0, -MAX_WEIGHT, MAX_WEIGHT)
        convolved: Tensor = conv3d(values, rounded, self._bias + self.shift, *self._options)
        return convolved

    def learnt(self, name: str, norm: str | None) -> Mapping[str, Tensor]:
        """Return what it learnt, by the names that the bundle has for it: its own, and that of its normalisation."""
        values = {f"{name}.weight": self.weight.detach().contiguous()}
        if self._first_shift is not None:
            values[f"{norm or name}.bias"] = self._first_shift + self.shift.detach()
        return values


class _Given(nn.Module):
    """A convolution whose output is rounded to bytes with a scale, and cut off as they are; not at all for None."""

    def __init__(self, layer: _RoundedConv3d, given: Scale | None) -> None:
        super().__init__()
        self._layer, self._given = layer, given

    def forward(self, values: Tensor) -> Tensor:
        convolved: Tensor = self._layer(values)
        return convolved if self._given is None else _rounded(convolved, self._given)


class _RoundedSum(nn.Module):
    """The sum of two values, rounded to bytes, which are not below 0."""

    def __init__(self, given: Scale) -> None:
        super().__init__()
        self._given = given

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        return _rounded(first + second, self._given)


class _Rounded(nn.Module):
    """Values as bytes have them."""

    def __init__(self, scale: Scale) -> None:
        super().__init__()
        self._scale = scale

    def forward(self, values: Tensor) -> Tensor:
        return _rounded(values, self._scale)


def _rounded(values: Tensor, scale: Scale) -> Tensor:
    return torch.fake_quantize_per_tensor_affine(values, scale.step, scale.zero, 0, MAX_BYTE)


def _scores(logits: Tensor, bundle: Bundle) -> Tensor:
    return logits.sigmoid() if bundle.multi_label else logits.softmax(dim=1)

"""From uint8 clips to logits and embeddings in one module, the same whether it runs eagerly or compiled.

`build_inference_network` turns a bundle into an `InferenceNetwork` of one of four precisions:

- ``exact``: float32 in the layers' published order, contiguous, no TF32; the reference.
- ``fp32``: float32 with batch normalisation folded into the convolutions, channels last. On CUDA, TF32 is allowed.
- ``int8``: the same with convolutions on bytes, for a bundle that was quantized (`vidcnn.inference.int8_network`).
- ``bf16``: the same with convolutions and linear layers in bfloat16; the head, softmax and normalisation layers stay
  float32.

Letters: N clips, T frames, H height, W width, C = 3 channels, D values of the embedding, K classes.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from vidcnn.choices import Precision
from vidcnn.errors import BundleError, ModelError
from vidcnn.inference.devices import fastest_precision
from vidcnn.inference.int8_network import integer_network, trace
from vidcnn.inference.int8_ops import as_scales, why_no_int8
from vidcnn.models.build import build_model, split_head
from vidcnn.models.bundle import Bundle
from vidcnn.models.registry import architecture
from vidcnn.sampling.preprocessing import Preprocessing


class Normalisation(nn.Module):
    """From uint8 clips to what a network takes.

    Args:
        preprocessing: Mean and standard deviation of each channel.
    """

    def __init__(self, preprocessing: Preprocessing) -> None:
        super().__init__()
        for name, values in (("mean", preprocessing.mean), ("std", preprocessing.std)):
            self.register_buffer(name, torch.tensor(values).view(3, 1, 1, 1), persistent=False)
        self.mean: Tensor
        self.std: Tensor

    def forward(self, clips: Tensor) -> Tensor:
        """Map uint8 ``(N, T, H, W, C)`` to float32 ``(N, C, T, H, W)``, in channels_last_3d."""
        # A view, whose strides are those of channels_last_3d.
        pixels = clips.permute(0, 4, 1, 2, 3).float()
        return (pixels / 255 - self.mean) / self.std


class InferenceNetwork(nn.Module):
    """Normalisation, front, backbone and head of a bundle's network.

    Args:
        bundle: The model.
        precision: How it computes.
        device: Where it computes.

    Raises:
        ModelError: It cannot compute so: int8 of a bundle that was not quantized, or where there is none.
    """

    def __init__(self, bundle: Bundle, precision: Precision, device: torch.device) -> None:
        super().__init__()
        entry = architecture(bundle.architecture)
        self.backbone, self.head = split_head(build_model(bundle), entry)
        self.front: nn.Module = nn.Identity()
        if entry.front:
            # A small change from frame to frame is no larger than the rounding of a bfloat16.
            self.front = self.backbone.get_submodule(entry.front)
            self.backbone.set_submodule(entry.front, nn.Identity())
        self.precision = precision
        if precision != "exact":
            fold_batch_norm(self.backbone)
            self.backbone.to(memory_format=torch.channels_last_3d)
        if precision == "bf16":
            _to_bf16(self.backbone)
        if precision == "int8":
            self.backbone = _to_int8(self.backbone, bundle, device)
        # What is not convolution or linear (layer norms, position tables) needs float32, and autocast between
        # the two. Without such layers all stays in bfloat16: autocast would pool in float32, at twice the
        # cost.
        self.is_mixed = len({weight.dtype for weight in self.backbone.parameters()}) > 1
        self.normalise = Normalisation(bundle.preprocessing)
        self.to(device)

    def forward(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        """Map clips to scores.

        Args:
            clips: uint8 ``(N, T, H, W, C)``, contiguous.

        Returns:
            Logits float32 ``(N, K)``, and embeddings float32 ``(N, D)``.
        """
        pixels = self.front(self.normalise(clips))  # (N, C, T, H, W)
        if self.is_mixed:
            with torch.autocast(clips.device.type, torch.bfloat16):
                embeddings = self.backbone(pixels).float()
        elif self.precision == "bf16":
            embeddings = self.backbone(pixels.to(torch.bfloat16)).float()
        elif self.precision == "exact":
            embeddings = self.backbone(pixels.contiguous())
        else:
            embeddings = self.backbone(pixels)
        return self.head(embeddings), embeddings


class _FloatPool(nn.Module):
    """An average over bfloat16 values computed in float32, which the CPU has no kernel for otherwise."""

    def __init__(self, pool: nn.Module) -> None:
        super().__init__()
        self.pool = pool

    def forward(self, values: Tensor) -> Tensor:
        pooled: Tensor = self.pool(values.float())
        return pooled.to(values.dtype)


def _to_bf16(network: nn.Module) -> None:
    for module in list(network.modules()):
        if isinstance(module, nn.Conv3d | nn.Linear):
            module.to(torch.bfloat16)
        for name, child in module.named_children():
            if isinstance(child, nn.AvgPool3d):
                setattr(module, name, _FloatPool(child))


def best_precision(bundle: Bundle, device: torch.device) -> Precision:
    """Return what a bundle is fastest in on a device, of what is good enough for it: what ``auto`` stands for."""
    if bundle.quantization is not None and device.type == "cpu" and why_no_int8() is None:
        return "int8"
    return fastest_precision(device)


def _to_int8(backbone: nn.Module, bundle: Bundle, device: torch.device) -> nn.Module:
    """Return the network on int8 convolutions."""
    if bundle.quantization is None:
        raise ModelError("the model was not quantized, so it has no int8 form", "vidcnn quantize makes one of a bundle")
    reason = "int8 networks run on processors, not on GPUs" if device.type != "cpu" else why_no_int8()
    if reason is not None:
        raise ModelError(reason, "use --precision bf16 or fp32: the bundle has its float weights, too")
    if bundle.quantization.source not in ("", bundle.weights_sha256):
        raise BundleError(f"the bundle of {bundle.architecture} was quantized for other weights", "quantize it again")
    found = bundle.quantization
    try:
        scales = as_scales(found.scales)
    except ValueError as error:
        raise BundleError(
            f"the quantization of {bundle.architecture} is damaged: {error}", "quantize it again"
        ) from error
    return integer_network(trace(backbone, bundle.architecture), scales, found.kept, found.corrections)


def fold_batch_norm(network: nn.Module) -> None:
    """Fold each batch normalisation that follows a convolution in an `nn.Sequential` into it, in place.

    In evaluation mode both are linear, so one convolution with other weights does the work of the two.
    """
    for layer, norm in batch_norms(network).items():
        pair: Any = network.get_submodule(layer), network.get_submodule(norm)
        network.set_submodule(layer, torch.nn.utils.fuse_conv_bn_eval(*pair))
        network.set_submodule(norm, nn.Identity())


def batch_norms(network: nn.Module) -> dict[str, str]:
    """Return, for each convolution that a batch normalisation follows in an `nn.Sequential`, the names of both."""
    found = {}
    for path, module in network.named_modules():
        if not isinstance(module, nn.Sequential):
            continue
        names = list(module._modules)
        for before, name in pairwise(names):
            layer = _last_layer(module, before)
            if isinstance(module.get_submodule(name), nn.BatchNorm3d) and isinstance(
                module.get_submodule(layer), nn.Conv3d
            ):
                found[_joined(path, layer)] = _joined(path, name)
    return found


def _last_layer(sequence: nn.Sequential, name: str) -> str:
    """Return the name of what computes the output of a part of a sequence, looking into nested sequences."""
    child = sequence.get_submodule(name)
    if isinstance(child, nn.Sequential) and len(child):
        return _joined(name, _last_layer(child, list(child._modules)[-1]))
    return name


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name

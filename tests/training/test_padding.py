from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import conv3d

from vidcnn.models.build import build_network
from vidcnn.models.registry import ARCHITECTURES
from vidcnn.training.padding import PaddedConv3d, lies_within, write_padding_out

LAYERS = [
    pytest.param((2, 7, 7), (3, 3, 3), (1, 1, 1), id="r3d_18 layer4"),
    pytest.param((2, 7, 7), (3, 1, 1), (1, 1, 1), id="r2plus1d_18 layer4"),
    pytest.param((2, 8, 8), (3, 3, 3), (1, 2, 2), id="strided in space"),
    pytest.param((3, 4, 4), (5, 3, 3), (1, 1, 1), id="five taps over three frames"),
    pytest.param((4, 6, 6), (7, 3, 3), (1, 1, 1), id="seven taps over four frames"),
    pytest.param((4, 1, 1), (1, 3, 3), (1, 2, 2), id="one pixel"),
    pytest.param((4, 7, 7), (3, 3, 3), (2, 2, 2), id="every place but one inside"),
]


@given(size=st.integers(1, 12), span=st.integers(1, 9), stride=st.integers(1, 4), padding=st.integers(0, 5))
def test_a_place_lies_within_if_it_begins_and_ends_within(size: int, span: int, stride: int, padding: int) -> None:
    places = range(-padding, size + padding - span + 1, stride)
    assert lies_within(size, span, stride, padding) == any(place >= 0 and place + span <= size for place in places)


def spoil_memory(sizes: list[int]) -> None:
    """Leave NaN in the memory that the next tensors of such sizes get."""
    kept = [torch.full((size,), float("nan")) for size in sizes for _ in range(3)]
    del kept


def gradients(layer: nn.Conv3d, clips: Tensor, upstream: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the output of a layer, and the gradients of its input and its weights, float32."""
    clips = clips.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    sizes = [layer.weight.numel(), layer.weight.numel() // 2, 2 * layer.weight.numel(), clips.numel()]
    spoil_memory(sizes)
    out = layer(clips)
    spoil_memory(sizes)
    out.backward(upstream)
    assert clips.grad is not None
    assert layer.weight.grad is not None
    return out.detach().float(), clips.grad.float(), layer.weight.grad.float()


@pytest.mark.parametrize(("size", "kernel", "stride"), LAYERS)
@pytest.mark.parametrize("layout", [torch.channels_last_3d, torch.contiguous_format], ids=["channels last", "plain"])
def test_gradients_in_bf16_are_those_in_float32_whatever_was_in_memory(
    size: tuple[int, int, int], kernel: tuple[int, int, int], stride: tuple[int, int, int], layout: torch.memory_format
) -> None:
    generator = torch.Generator().manual_seed(0)
    plain = nn.Conv3d(64, 64, kernel, stride, padding=tuple(taps // 2 for taps in kernel), bias=False)  # type: ignore[arg-type]
    plain.to(torch.bfloat16)
    clips = torch.randn(2, 64, *size, generator=generator).bfloat16()
    shape = conv3d(clips.float(), plain.weight.float(), None, stride, plain.padding).shape  # type: ignore[arg-type]
    upstream = torch.randn(shape, generator=generator).bfloat16()
    expected = gradients(copy.deepcopy(plain).float(), clips.float(), upstream.float())
    layer = PaddedConv3d(plain).to(memory_format=layout)
    found = gradients(layer, clips.to(memory_format=layout), upstream.to(memory_format=layout))
    for ours, right in zip(found, expected, strict=True):
        # Without instructions for bf16, processors round partial sums, too. What this is about is far more.
        assert (ours - right).abs().max() < 0.03 * right.abs().max()


def test_padding_is_written_out_only_where_a_gradient_of_weights_needs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    padded: list[tuple[int, ...]] = []
    monkeypatch.setattr(
        "vidcnn.training.padding.pad", lambda clips, by: padded.append(by) or nn.functional.pad(clips, by)
    )
    layer = PaddedConv3d(nn.Conv3d(4, 4, 3, padding=1))
    layer(torch.zeros(1, 4, 3, 5, 5))
    assert padded == []
    layer(torch.zeros(1, 4, 2, 5, 5))
    assert padded == [(1, 1, 1, 1, 1, 1)]
    with torch.inference_mode():
        layer(torch.zeros(1, 4, 2, 5, 5))
    layer.requires_grad_(False)(torch.zeros(1, 4, 2, 5, 5))
    assert len(padded) == 1


@pytest.mark.parametrize("name", list(ARCHITECTURES))
def test_a_network_keeps_its_parameters_and_their_names(name: str) -> None:
    network = build_network(ARCHITECTURES[name], 3)
    before = dict(network.named_parameters())
    write_padding_out(network)
    after = dict(network.named_parameters())
    assert list(after) == list(before)
    assert all(after[name] is before[name] for name in before)
    assert not any(module.training for module in network.modules())
    layers = [module for module in network.modules() if isinstance(module, nn.Conv3d) and any(module.padding)]
    assert all(isinstance(layer, PaddedConv3d) for layer in layers)

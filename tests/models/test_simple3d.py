from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from vidcnn.models.simple3d import FrameDifferences, Simple3D


def layers(network: nn.Module, kind: type[nn.Module]) -> list[Any]:
    return [module for module in network.modules() if isinstance(module, kind)]


def test_the_default_is_the_network_of_the_textbooks() -> None:
    network = Simple3D(num_classes=5)
    assert [(conv.out_channels, conv.kernel_size) for conv in layers(network, nn.Conv3d)] == [
        (32, (3, 3, 3)),
        (64, (3, 3, 3)),
        (128, (3, 3, 3)),
    ]
    assert len(layers(network, nn.MaxPool3d)) == 3
    assert not layers(network, nn.BatchNorm3d)
    assert [(dense.in_features, dense.out_features) for dense in layers(network, nn.Linear)] == [(128, 256), (256, 5)]
    assert [dropout.p for dropout in layers(network, nn.Dropout)] == [0.5]


def test_width_and_depth_are_arguments() -> None:
    network = Simple3D(num_classes=2, channels=(8, 16), width=0.5, convs_per_block=2, hidden=7, batch_norm=True)
    convs = layers(network, nn.Conv3d)
    assert [(conv.in_channels, conv.out_channels) for conv in convs] == [(3, 4), (4, 4), (4, 8), (8, 8)]
    assert len(layers(network, nn.BatchNorm3d)) == 4
    assert all(conv.bias is None for conv in convs)
    assert network.classifier.in_features == 7


@given(
    shape=st.tuples(st.integers(1, 9), st.integers(1, 20), st.integers(1, 20)),
    num_blocks=st.integers(1, 4),
    convs_per_block=st.integers(1, 2),
)
def test_strided_convolutions_and_max_pooling_give_maps_of_one_size(
    shape: tuple[int, int, int], num_blocks: int, convs_per_block: int
) -> None:
    clips = torch.empty(2, 3, *shape, device="meta")
    with torch.device("meta"):
        maps = [
            Simple3D(
                num_classes=3, channels=[4] * num_blocks, convs_per_block=convs_per_block, downsample=downsample
            ).features(clips)
            for downsample in ("max", "strided")
        ]
    assert maps[0].shape == maps[1].shape
    # The first block halves space alone, the others time too; a size that is odd is rounded up.
    expected = (shape[0], -(-shape[1] // 2), -(-shape[2] // 2))
    for _ in range(num_blocks - 1):
        expected = (-(-expected[0] // 2), -(-expected[1] // 2), -(-expected[2] // 2))
    assert maps[0].shape == (2, 4, *expected)


@pytest.mark.parametrize("downsample", ["max", "strided"])
def test_gradients_reach_every_weight(downsample: Any) -> None:
    network = Simple3D(num_classes=3, width=0.25, downsample=downsample, batch_norm=True)
    network(torch.randn(4, 3, 4, 16, 16)).square().sum().backward()
    assert all(weight.grad is not None and weight.grad.any() for weight in network.parameters())


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"channels": ()}, "channels"),
        ({"channels": (8, 0)}, "channels"),
        ({"width": 0}, "width"),
        ({"convs_per_block": 0}, "convs_per_block"),
        ({"dropout": 1.0}, "dropout"),
        ({"downsample": "average"}, "downsample"),
        ({"input_mode": "flow"}, "input_mode"),
    ],
)
def test_a_bad_argument_is_named(arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Simple3D(num_classes=2, **arguments)


def test_differences_show_motion_and_not_the_scene() -> None:
    network = Simple3D(num_classes=3, channels=(4,), hidden=5, input_mode="differences").eval()
    clips = torch.randn(2, 3, 6, 8, 8)
    assert torch.allclose(network(clips), network(clips + torch.randn(2, 3, 1, 8, 8)), atol=1e-5)
    assert not torch.allclose(network(clips), network(clips.flip(2)), atol=1e-5)
    with pytest.raises(ValueError, match=r"num_frames \(1\) must be > 1"):
        network(clips[:, :, :1])


def test_differences_are_those_of_brightness_and_their_magnitudes() -> None:
    clips = torch.zeros(1, 3, 3, 2, 2)
    clips[0, :, 1, 0, 0] = torch.tensor([3.0, 6.0, 9.0])  # brighter in the second frame, and as before in the third
    found = FrameDifferences(keeps_frames=False)(clips)
    assert found.shape == (1, 2, 2, 2, 2)
    assert found[0, :, :, 0, 0].tolist() == [[12.0, -12.0], [12.0, 12.0]]  # twice the change
    assert not found[0, :, :, 1].any()
    beside = FrameDifferences(keeps_frames=True)(clips)
    assert torch.equal(beside, torch.cat([clips[:, :, 1:], found], dim=1))


def test_frames_beside_their_differences_show_the_scene() -> None:
    network = Simple3D(num_classes=3, channels=(4,), hidden=5, input_mode="both").eval()
    clips = torch.randn(2, 3, 6, 8, 8)
    assert not torch.allclose(network(clips), network(clips + torch.randn(2, 3, 1, 8, 8)), atol=1e-5)

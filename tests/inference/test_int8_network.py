"""Networks on bytes give what the float networks give, up to rounding, whatever layers they are made of."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor, fx, nn

from vidcnn.errors import ModelError
from vidcnn.inference.calibration import observe
from vidcnn.inference.int8_network import convolutions, integer_network, scaled_values, trace
from vidcnn.inference.int8_ops import AddRelu, IntegerConv3d, MaxPool, Scale, why_no_int8
from vidcnn.inference.network import fold_batch_norm
from vidcnn.models.build import build_network, random_state, split_head
from vidcnn.models.registry import ARCHITECTURES

pytestmark = pytest.mark.skipif(why_no_int8() is not None, reason=f"no int8 here: {why_no_int8()}")


def pixels(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def in_integers(network: nn.Module, clips: Tensor, kept: tuple[str, ...] = ()) -> tuple[fx.GraphModule, Tensor, Tensor]:
    """Return the integer network of one, calibrated on some clips, with its results and those of the network."""
    traced = trace(network.eval(), "it")
    observed, expected = observe(traced, [clips])
    made = integer_network(traced, observed.scales("max"), kept)
    with torch.inference_mode():
        return made, made(clips), expected


def distance(found: Tensor, expected: Tensor) -> float:
    return float((found.float() - expected).norm() / expected.norm())


def kinds(network: nn.Module, kind: type[nn.Module]) -> int:
    return sum(isinstance(module, kind) for module in network.modules())


class Block(nn.Module):
    """A residual block, with another width or stride where `wider`."""

    def __init__(self, width: int, *, wider: bool) -> None:
        super().__init__()
        out = 2 * width if wider else width
        stride = 2 if wider else 1
        self.first = nn.Conv3d(width, out, 3, stride, padding=1)
        self.second = nn.Conv3d(out, out, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.short: nn.Module = nn.Conv3d(width, out, 1, stride) if wider else nn.Identity()

    def forward(self, values: Tensor) -> Tensor:
        changed = self.second(torch.relu(self.first(values)))
        changed += self.short(values)
        return self.relu(changed)


class Branches(nn.Module):
    """Parts that are put together again, as in networks of the inception kind."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Sequential(nn.Conv3d(8, 4, 1), nn.ReLU())
        self.two = nn.Sequential(nn.MaxPool3d(3, 1, padding=1), nn.Conv3d(8, 12, 1), nn.ReLU())

    def forward(self, values: Tensor) -> Tensor:
        return torch.cat([self.one(values), self.two(values)], dim=1)


class Odd(nn.Module):
    """Uses values more than once, and in ways that bytes have none for."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv3d(8, 8, 3, padding=1)
        self.again = nn.Conv3d(8, 8, 1)

    def forward(self, values: Tensor) -> Tensor:
        found = self.conv(values)
        return torch.sigmoid(found) * torch.relu(found) + self.again(torch.relu(found)) + values * 2


@pytest.mark.parametrize(
    ("layers", "num_integer"),
    [
        pytest.param([nn.Conv3d(3, 8, 3), nn.ReLU(), nn.Conv3d(8, 8, 3), nn.ReLU()], 2, id="plain"),
        pytest.param([nn.Conv3d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool3d(2), nn.Conv3d(8, 8, 1)], 2, id="pooled"),
        pytest.param([nn.Conv3d(3, 8, 3, padding=1), nn.MaxPool3d(2), nn.Conv3d(8, 8, 1)], 2, id="pooled signed"),
        pytest.param([nn.Conv3d(3, 8, 3, padding=1), nn.Tanh(), nn.Conv3d(8, 8, 1), nn.ReLU()], 2, id="tanh"),
        pytest.param(
            [nn.Conv3d(3, 8, 3, padding=1), nn.ReLU(), Block(8, wider=False), Block(8, wider=True)], 6, id="residual"
        ),
        pytest.param(
            [nn.Conv3d(3, 8, 3, padding=1), nn.ReLU(), Branches(), nn.MaxPool3d(2), nn.Conv3d(16, 8, 1)], 4, id="cat"
        ),
        pytest.param([nn.Conv3d(3, 8, 3, padding=1), nn.ReLU(), Odd()], 3, id="odd"),
        pytest.param(
            [nn.Conv3d(3, 8, 3, padding="same"), nn.ReLU(), nn.Conv3d(8, 8, 1), nn.Dropout(), nn.Identity()],
            1,
            id="padding by name",
        ),
    ],
)
def test_each_way_layers_follow_each_other_gives_what_floats_give(layers: list[Any], num_integer: int) -> None:
    torch.manual_seed(0)
    made, found, expected = in_integers(nn.Sequential(*layers), pixels(2, 3, 6, 12, 12))
    assert kinds(made, IntegerConv3d) == num_integer
    assert found.shape == expected.shape
    assert distance(found, expected) < 0.04


def test_what_follows_a_convolution_costs_no_step_through_floats() -> None:
    torch.manual_seed(0)
    layers = [nn.Conv3d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool3d(2), Block(8, wider=False), Block(8, wider=False)]
    made, _, _ = in_integers(nn.Sequential(*layers), pixels(1, 3, 4, 8, 8))
    called = [
        type(made.get_submodule(str(node.target))).__name__ for node in made.graph.nodes if node.op == "call_module"
    ]
    assert called[:6] == ["Quantize", "IntegerConv3d", "MaxPool", "IntegerConv3d", "IntegerConv3d", "AddRelu"]
    assert kinds(made, AddRelu) == 1  # the last sum is wanted in floats
    assert kinds(made, MaxPool) == 1


def test_layers_that_are_kept_stay_in_floats_and_make_it_more_exact() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv3d(3, 8, 3, padding=1), nn.ReLU(), Block(8, wider=True), nn.AdaptiveAvgPool3d(1))
    clips = pixels(2, 3, 6, 12, 12)
    names = convolutions(trace(network.eval(), "it"))
    assert names == ("0", "2.first", "2.second", "2.short")
    _, found, expected = in_integers(network, clips)
    made, kept, _ = in_integers(network, clips, names)
    assert kinds(made, IntegerConv3d) == 0
    assert distance(kept, expected) < distance(found, expected)
    for name in names:
        made, some, _ = in_integers(network, clips, (name,))
        assert kinds(made, IntegerConv3d) == 3
        assert distance(some, expected) < 0.04


def test_what_cannot_be_quantized_is_refused_with_the_reason() -> None:
    class Branching(nn.Module):
        def forward(self, values: Tensor) -> Tensor:
            return values if values.sum() > 0 else -values

    with pytest.raises(ModelError, match=r"it cannot be quantized: torch\.fx cannot trace it: symbolically traced"):
        trace(Branching(), "it")
    with pytest.raises(ModelError, match="it has no 3D convolutions"):
        trace(nn.Sequential(nn.Linear(3, 3)), "it")
    traced = trace(nn.Sequential(nn.Conv3d(3, 8, 3)).eval(), "it")
    with pytest.raises(ModelError, match="was not calibrated"):
        integer_network(traced, {})
    with pytest.raises(ModelError, match="has no layer 7 to be kept"):
        integer_network(traced, {name: Scale(1.0) for name in scaled_values(traced)}, ["7"])


@pytest.mark.parametrize(
    ("name", "arguments", "shape"),
    [
        ("simple3d", {}, (2, 3, 8, 32, 32)),
        ("simple3d", {"downsample": "strided", "batch_norm": True, "convs_per_block": 2}, (2, 3, 8, 32, 32)),
        ("r3d_18", {}, (1, 3, 8, 32, 32)),
        ("mc3_18", {}, (1, 3, 8, 32, 32)),
        ("r2plus1d_18", {}, (1, 3, 8, 32, 32)),
        pytest.param("s3d", {}, (1, 3, 16, 224, 224), marks=pytest.mark.slow),
    ],
)
def test_all_convolutions_of_the_networks_that_come_along_run_on_bytes(
    name: str, arguments: dict[str, Any], shape: tuple[int, ...]
) -> None:
    entry = ARCHITECTURES[name]
    network = build_network(entry, 5, arguments)
    network.load_state_dict(random_state(entry, 5, arguments), assign=True)
    backbone, _ = split_head(network.requires_grad_(False), entry)
    fold_batch_norm(backbone)
    made, found, expected = in_integers(backbone, pixels(*shape))
    assert kinds(made, IntegerConv3d) == kinds(backbone, nn.Conv3d)
    assert nn.functional.cosine_similarity(found.float(), expected).min() > 0.999


def test_networks_are_traced_in_many_threads_while_others_compute() -> None:
    network = nn.Sequential(nn.Conv3d(3, 4, 3), nn.BatchNorm3d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 8, 2)).eval()
    weighted = nn.Sequential(nn.Linear(4, 4), nn.PReLU()).eval()
    clips, values = torch.rand(1, 3, 4, 4, 4), torch.rand(2, 4)
    is_over = threading.Event()

    def compute() -> int:
        expected, number = weighted(values), 0
        while not is_over.is_set():
            assert torch.equal(weighted(values), expected)
            number += 1
        return number

    def trace_often() -> set[str]:
        return {"".join(str(node.target) for node in trace(network, "it").graph.nodes) for _ in range(100)}

    with ThreadPoolExecutor(4) as pool, torch.inference_mode():
        computing = pool.submit(compute)
        tracing = [pool.submit(trace_often) for _ in range(3)]
        try:
            assert {len(each.result()) for each in tracing} == {1}
        finally:
            is_over.set()
        assert computing.result() > 10
    assert torch.equal(network(clips), trace(network, "it")(clips))

"""Arithmetic on bytes against the same on floats; and torch still has the operators for it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from vidcnn.inference import int8_ops
from vidcnn.inference.int8_ops import (
    AddRelu,
    Dequantize,
    IntegerConv3d,
    MaxPool,
    Quantize,
    Scale,
    can_pool,
    why_no_int8,
)

needs_int8 = pytest.mark.skipif(why_no_int8() is not None, reason=f"no int8 here: {why_no_int8()}")


def random_bytes(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def test_torch_has_the_operators() -> None:
    assert all(hasattr(torch.ops.onednn, name) for name in int8_ops._OPERATORS)


@given(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3))
def test_a_scale_covers_its_range_and_zero_is_exact(one: float, other: float) -> None:
    low, high = sorted((one, other))
    scale = Scale.of_range(low, high)
    covered = [scale.step * (byte - scale.zero) for byte in (0, 255)]
    assert covered[0] <= min(low, 0) + scale.step
    assert covered[1] >= max(high, 0) - scale.step
    assert isinstance(scale.zero, int)
    if low >= 0:
        assert scale.zero == 0


@pytest.mark.parametrize(("step", "zero"), [(0.0, 0), (-1.0, 0), (float("inf"), 0), (1.0, -1), (1.0, 256)])
def test_a_scale_that_means_nothing_is_refused(step: float, zero: int) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        Scale(step, zero)


def test_values_become_the_nearest_bytes_and_come_back() -> None:
    scale = Scale(0.5, 10)
    values = torch.tensor([-100.0, -5.0, -0.3, -0.2, 0.0, 0.2, 0.3, 7.0, 122.5, 1000.0]).view(1, 10, 1, 1, 1)
    found = Quantize(scale)(values)
    assert found.flatten().tolist() == [0, 0, 9, 10, 10, 10, 11, 24, 255, 255]
    back = Dequantize(scale, torch.float32)(found)
    assert back.flatten().tolist() == [-5.0, -5.0, -0.5, 0.0, 0.0, 0.0, 0.5, 7.0, 122.5, 122.5]


def test_what_is_larger_than_a_chunk_is_worked_on_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(int8_ops, "_CHUNK", 7)
    found = random_bytes(2, 3, 4, 5, 6)
    assert torch.equal(Quantize(Scale(1.0))(found.float()), found)


@pytest.mark.parametrize("first", [None, Scale(0.1, 0), Scale(0.1, 7)])
@pytest.mark.parametrize("second", [None, Scale(0.2, 0), Scale(0.2, 130)])
def test_sums_are_those_of_floats_without_what_is_below_zero(first: Scale | None, second: Scale | None) -> None:
    given = Scale(0.3)
    values: list[Tensor] = []
    terms: list[Tensor] = []
    for scale, seed in ((first, 1), (second, 2)):
        quantized = random_bytes(2, 3, 4, 5, 6, seed=seed)
        meant = Dequantize(scale or Scale(0.1, 128), torch.float32)(quantized)
        values.append(meant)
        terms.append(quantized if scale else meant)
    found = AddRelu(first, second, given)(*terms)
    expected = ((values[0] + values[1]).relu() / given.step).clamp(max=255)
    assert (found.float() - expected).abs().max() <= 0.501


@given(shape=st.tuples(*[st.integers(1, 9)] * 4), seed=st.integers(0, 99))
def test_a_sum_does_not_depend_on_the_clips_beside_it(shape: tuple[int, ...], seed: int) -> None:
    add = AddRelu(None, Scale(0.021), Scale(0.017))
    first, second = random_bytes(3, *shape, seed=seed) * 0.0131 - 1.7, random_bytes(3, *shape, seed=seed + 1)
    together = add(first, second)
    for index in range(3):
        assert torch.equal(add(first[index : index + 1], second[index : index + 1]), together[index : index + 1])


@settings(deadline=None, max_examples=60)
@given(
    size=st.tuples(*[st.integers(1, 3)] * 3),
    stride=st.tuples(*[st.integers(1, 3)] * 3),
    padded=st.booleans(),
    ceil_mode=st.booleans(),
    shape=st.tuples(*[st.integers(3, 9)] * 3),
)
def test_maxima_are_those_of_floats(
    size: tuple[int, int, int],
    stride: tuple[int, int, int],
    padded: bool,
    ceil_mode: bool,
    shape: tuple[int, int, int],
) -> None:
    padding: Any = tuple(extent // 2 if padded else 0 for extent in size)
    pool = nn.MaxPool3d(size, stride, padding, ceil_mode=ceil_mode)
    values = random_bytes(1, 2, *shape)
    assert can_pool(pool)
    assert torch.equal(MaxPool(pool)(values).float(), pool(values.float()))


def test_pooling_that_bytes_cannot_do_is_left_to_floats() -> None:
    assert not can_pool(nn.MaxPool3d(2, dilation=2))
    assert not can_pool(nn.MaxPool3d(2, return_indices=True))
    assert not can_pool(nn.AvgPool3d(2))


@needs_int8
@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv3d(8, 16, 3, padding=1),
        nn.Conv3d(8, 16, (1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1), bias=False),
        nn.Conv3d(8, 16, 1, stride=2),
        nn.Conv3d(8, 16, 3, padding=1, groups=8),
        nn.Conv3d(3, 5, 3, padding=2, dilation=2),
    ],
    ids=["3x3x3", "plane", "point", "groups", "dilated"],
)
@pytest.mark.parametrize("zero", [0, 90])
def test_convolutions_are_those_of_the_rounded_weights(conv: nn.Conv3d, zero: int) -> None:
    taken = Scale(0.02, zero)
    values = random_bytes(2, conv.in_channels, 4, 7, 7)
    step = conv.weight.abs().amax(dim=(1, 2, 3, 4), keepdim=True) / 127
    rounded = nn.Conv3d.__new__(nn.Conv3d)
    rounded.__dict__ = {**conv.__dict__, "_parameters": dict(conv._parameters)}
    rounded.weight = nn.Parameter((conv.weight / step).round() * step)
    with torch.inference_mode():
        expected = rounded(Dequantize(taken, torch.float32)(values))
        given = Scale.of_range(float(expected.min()), float(expected.max()))
        found = Dequantize(given, torch.float32)(IntegerConv3d(conv, taken, given)(values))
        whole = IntegerConv3d(conv, taken, None)(values)
    assert (found - expected).abs().max() <= 0.51 * given.step + 1e-4
    assert whole.dtype == torch.float32
    assert (whole - expected).abs().max() <= expected.abs().max() * 1e-4


@needs_int8
def test_a_convolution_gives_the_same_bytes_whatever_shares_its_batch_and_with_any_threads() -> None:
    conv = IntegerConv3d(nn.Conv3d(16, 16, 3, padding=1), Scale(0.02), Scale(0.01, 100))
    values = random_bytes(4, 16, 4, 14, 14)
    before = torch.get_num_threads()
    with torch.inference_mode():
        whole = conv(values)
        try:
            torch.set_num_threads(1)
            single = torch.cat([conv(values[index : index + 1]) for index in range(4)])
        finally:
            torch.set_num_threads(before)
    assert torch.equal(whole, single)


def test_why_there_is_no_int8_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(int8_ops, "cpu_features", lambda: frozenset({"avx2"}))
    assert why_no_int8() == "the processor does not multiply int8 (it has no VNNI)"
    monkeypatch.setattr(int8_ops, "_OPERATORS", ("qconv_prepack", "qconv_gone"))
    reason = why_no_int8()
    assert reason is not None
    assert "has no int8 convolutions (qconv_gone)" in reason

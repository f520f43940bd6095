from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from vidcnn.inference.calibration import OBSERVERS, Histogram, find_corrections, observe
from vidcnn.inference.int8_network import integer_network, trace
from vidcnn.inference.int8_ops import Scale, why_no_int8


def histogram(*batches: list[float]) -> Histogram:
    found = Histogram()
    for batch in batches:
        found.add(torch.tensor(batch))
    return found


@settings(deadline=None)
@given(st.lists(st.lists(st.floats(-100, 1000, width=32), min_size=1, max_size=30), min_size=1, max_size=5))
def test_the_largest_range_covers_all_that_was_seen_in_any_number_of_batches(batches: list[list[float]]) -> None:
    scale = histogram(*batches).scale("max")
    values = [value for batch in batches for value in batch]
    assert scale.step * (0 - scale.zero) <= min(0, *values) + scale.step
    assert scale.step * (255 - scale.zero) >= max(0, *values) - scale.step


def test_rare_large_values_are_left_out_by_a_percentile() -> None:
    common, rare = torch.rand(100_000), torch.full((5,), 50.0)
    found = Histogram()
    found.add(common)
    found.add(rare)
    assert found.scale("max").step * 255 == pytest.approx(50)
    assert found.scale("percentile-99.99").step * 255 < 1.1
    assert found.scale("percentile-99.9").step * 255 == pytest.approx(0.999, abs=0.03)


def test_the_least_error_lies_between_rounding_and_cutting() -> None:
    values = torch.randn(200_000, generator=torch.Generator().manual_seed(0)).relu()
    found = Histogram()
    found.add(values)

    def error(scale: Scale) -> float:
        rounded = (values / scale.step).round().clamp(max=255) * scale.step
        return float(((rounded - values) ** 2).mean())

    errors = {observer: error(found.scale(observer)) for observer in OBSERVERS}
    assert errors["mse"] == min(errors.values())
    assert errors["mse"] < errors["max"]


def test_both_ends_of_values_around_zero_are_cut() -> None:
    found = Histogram()
    found.add(torch.randn(100_000, generator=torch.Generator().manual_seed(0)))
    found.add(torch.tensor([-80.0, 40.0]))
    widest = found.scale("max")
    assert widest.step * 255 == pytest.approx(120)
    for observer in OBSERVERS[1:]:
        scale = found.scale(observer)
        assert 5 < scale.step * 255 < 100
        assert 60 < scale.zero < 200


def test_bins_keep_their_counts_when_they_grow() -> None:
    found = histogram([-1.0, -0.5, 0.0, 0.25, 1.0], [-3.0, 9.0], [0.5])
    assert found._counts.sum() == 8
    middles = np.linspace(-1, 1, len(found._counts) + 1)[:-1] * found._top
    assert middles[found._counts > 0] == pytest.approx([-3, -1, -0.5, 0, 0.25, 0.5, 1, 9], abs=0.02)


def test_a_value_that_is_always_zero_has_a_scale() -> None:
    for observer in OBSERVERS:
        assert histogram([0.0, 0.0]).scale(observer).zero == 0


def test_a_network_is_observed_where_its_int8_form_needs_scales_and_gives_its_results() -> None:
    network = nn.Sequential(nn.Conv3d(1, 2, 1), nn.ReLU(), nn.Conv3d(2, 2, 1)).eval()
    batches = [torch.ones(1, 1, 2, 2, 2), 3 * torch.ones(2, 1, 2, 2, 2)]
    observed, results = observe(trace(network, "it"), batches)
    with torch.no_grad():
        assert torch.equal(results, torch.cat([network(batch) for batch in batches]))
    assert len(observed.histograms) == 2
    assert {histogram.high for histogram in observed.histograms.values()} >= {3.0}
    assert all(scale.step > 0 for scale in observed.scales("max").values())


@pytest.mark.skipif(why_no_int8() is not None, reason=f"no int8 here: {why_no_int8()}")
@pytest.mark.parametrize("groups", [1, 2])
def test_what_rounding_shifts_is_corrected_in_each_channel(groups: int) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv3d(4, 8, 1, groups=groups), nn.ReLU(), nn.Conv3d(8, 6, 1, groups=groups)).eval()
    values = torch.rand(4, 4, 8, 16, 16) ** 3
    traced = trace(network.requires_grad_(False), "it")
    observed, expected = observe(traced, [values])
    scales = {name: Scale(6 * scale.step, scale.zero) for name, scale in observed.scales("max").items()}

    def shift(corrections: dict[str, tuple[float, ...]]) -> float:
        with torch.inference_mode():
            found = integer_network(traced, scales, (), corrections)(values).float()
        return float((found - expected).mean(dim=(0, 2, 3, 4)).abs().max())

    corrections = find_corrections(traced, scales, [values[:2], values[2:]])
    assert {name: len(found) for name, found in corrections.items()} == {"0": 8, "2": 6}
    assert shift(corrections) < 0.5 * shift({})

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from vidcnn.inference.calibration import OBSERVERS, Histogram, observe
from vidcnn.inference.int8_network import trace
from vidcnn.inference.int8_ops import Scale


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


def test_values_below_zero_are_covered_whole_whatever_the_observer() -> None:
    found = histogram([-3.0, 1.0], [2.0])
    assert {found.scale(observer) for observer in OBSERVERS} == {Scale.of_range(-3.0, 2.0)}


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

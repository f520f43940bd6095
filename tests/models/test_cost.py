"""The figures of the registry are those of the networks, and of what torchvision publishes."""

from __future__ import annotations

import pytest

from vidcnn.models.build import build_network
from vidcnn.models.cost import count_multiply_adds, count_parameters
from vidcnn.models.registry import ARCHITECTURES

NUM_CLASSES = 400


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_registry_says_what_a_network_costs(name: str) -> None:
    entry = ARCHITECTURES[name]
    network = build_network(entry, NUM_CLASSES)
    assert entry.num_parameters == count_parameters(network)
    counted = count_multiply_adds(network, entry.sampling.num_frames, entry.preprocessing.crop)
    assert entry.multiply_adds == counted


@pytest.mark.parametrize("name", [entry.name for entry in ARCHITECTURES.values() if entry.weights])
def test_multiply_adds_of_sixteen_frames_are_those_that_torchvision_publishes(name: str) -> None:
    from torchvision.models import get_model_weights

    entry = ARCHITECTURES[name]
    counted = count_multiply_adds(build_network(entry, NUM_CLASSES), 16, entry.preprocessing.crop)
    assert counted / 1e9 == pytest.approx(get_model_weights(name)["KINETICS400_V1"].meta["_ops"], abs=6e-4)

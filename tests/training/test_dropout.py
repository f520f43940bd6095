from __future__ import annotations

import pytest
import torch
from torch import nn

from vidcnn.training.dropout import SampleDropout, bind_dropout


def drop(samples: range, *, seed: int = 1, p: float = 0.5) -> torch.Tensor:
    layer = SampleDropout(p, (seed, 0))
    layer.samples = samples
    return layer(torch.ones(len(samples), 64))


def test_a_sample_loses_the_same_values_whoever_computes_it() -> None:
    whole = drop(range(8, 16))
    assert torch.equal(torch.cat([drop(range(8, 12)), drop(range(12, 16))]), whole)
    assert torch.equal(drop(range(11, 12))[0], whole[3])


def test_other_samples_and_other_seeds_lose_others() -> None:
    assert not torch.equal(drop(range(2))[0], drop(range(2))[1])
    assert not torch.equal(drop(range(1)), drop(range(1), seed=2))


def test_the_share_that_is_lost_is_the_probability_and_the_mean_stays() -> None:
    values = drop(range(1000), p=0.3)
    assert float((values == 0).float().mean()) == pytest.approx(0.3, abs=0.01)
    assert float(values.mean()) == pytest.approx(1.0, abs=0.02)
    assert values.unique().tolist() == pytest.approx([0, 1 / 0.7])


def test_nothing_is_lost_when_the_network_is_not_trained() -> None:
    layer = SampleDropout(0.5, (1, 0)).eval()
    values = torch.ones(3, 5)
    assert layer(values) is values


def test_all_dropout_of_a_network_is_replaced_each_with_a_mask_of_its_own() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5), nn.Sequential(nn.Dropout(0.2), nn.Dropout(0.0)))
    layers = bind_dropout(network, seed=7)
    assert [layer.p for layer in layers] == [0.5, 0.2]
    assert network[1] is layers[0]
    assert type(network[2][1]) is nn.Dropout
    for layer in layers:
        layer.samples = range(4)
    assert not torch.equal(layers[0](torch.ones(4, 9)) == 0, layers[1](torch.ones(4, 9)) == 0)

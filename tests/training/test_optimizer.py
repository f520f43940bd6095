from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from tests.training.cases import recipe, share, tiny_bundle
from vidcnn.models.build import build_network
from vidcnn.models.bundle import Bundle
from vidcnn.models.registry import ARCHITECTURES
from vidcnn.training.batch import Worker
from vidcnn.training.dropout import SampleDropout, bind_dropout
from vidcnn.training.loop import Trainer
from vidcnn.training.mixing import Mixing
from vidcnn.training.optimizer import build_optimizer, freeze, gradient_norm, set_rate
from vidcnn.training.recipe import Recipe


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_freezing_the_backbone_leaves_the_head_and_nothing_else(name: str) -> None:
    entry = ARCHITECTURES[name]
    network = build_network(entry, 5).requires_grad_(True)
    frozen = freeze(network, entry.head, ("backbone",))
    left = {name for name, weight in network.named_parameters() if weight.requires_grad}
    assert left == {f"{entry.head}.weight", f"{entry.head}.bias"}
    network.train()
    for module in frozen:
        module.eval()
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm3d)]
    assert not any(module.training for module in norms)
    assert network.get_submodule(entry.head).training


def test_weights_that_the_network_holds_itself_are_of_the_backbone() -> None:
    network = nn.Sequential()
    network.scale = nn.Parameter(torch.ones(1))
    network.head = nn.Linear(2, 2)
    network.header = nn.Linear(2, 2)
    freeze(network, "head", ("backbone",))
    assert {name for name, weight in network.named_parameters() if weight.requires_grad} == {"head.weight", "head.bias"}


def test_weights_decay_and_biases_and_norms_do_not(tmp_path: Path) -> None:
    network = build_network(ARCHITECTURES["simple3d"], 4, {"channels": [4], "batch_norm": True}, device="cpu")
    with_recipe = recipe(optimizer="sgd", weight_decay=0.1, learning_rate=0.5, backbone_rate=0.2)
    optimizer = build_optimizer(network, "classifier", with_recipe)
    names = {id(weight): name for name, weight in network.named_parameters()}
    found = {
        names[id(weight)]: (group["peak"], group["weight_decay"])
        for group in optimizer.param_groups
        for weight in group["params"]
    }
    assert found == {
        "features.0.0.weight": (0.1, 0.1),
        "features.0.1.weight": (0.1, 0.0),
        "features.0.1.bias": (0.1, 0.0),
        "hidden.weight": (0.1, 0.1),
        "hidden.bias": (0.1, 0.0),
        "classifier.weight": (0.5, 0.1),
        "classifier.bias": (0.5, 0.0),
    }
    set_rate(optimizer, 0.5)
    assert {group["lr"] for group in optimizer.param_groups} == {0.05, 0.25}
    set_rate(optimizer, 1.0)
    assert {group["lr"] for group in optimizer.param_groups} == {0.1, 0.5}
    assert all(group["nesterov"] for group in optimizer.param_groups)


def test_the_norm_is_of_all_gradients_together() -> None:
    network = nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1))
    for weight, value in zip(network.parameters(), (1.0, 2.0, 4.0, None), strict=True):
        weight.grad = None if value is None else torch.full_like(weight, value)
    assert float(gradient_norm(network)) == pytest.approx(21**0.5)


def test_the_rate_rises_linearly_and_falls_as_the_schedule_says() -> None:
    rising = Recipe(100, 8, warmup_steps=10, schedule="constant")
    assert [rising.rate(step) for step in (0, 4, 9, 10, 99)] == pytest.approx([0.109, 0.505, 1, 1, 1])
    cosine = Recipe(110, 8, warmup_steps=10)
    assert [cosine.rate(step) for step in (10, 60, 109)] == pytest.approx([1, 0.5, 0.001], abs=1e-3)
    assert all(0 < cosine.rate(step) <= 1 for step in range(200))
    steps = Recipe(100, 8, warmup_steps=2, schedule="multistep", milestones=(5, 50), gamma=0.1)
    assert [steps.rate(step) for step in (4, 5, 49, 50)] == pytest.approx([1, 0.1, 0.1, 0.01])


def test_a_mask_belongs_to_the_sample_and_its_layer() -> None:
    layer, other = SampleDropout(0.5, (3, 0)), SampleDropout(0.5, (3, 1))
    values = torch.ones(4, 1000)
    layer.samples = other.samples = range(8, 12)
    together = layer(values)
    layer.samples = range(10, 12)
    assert torch.equal(layer(values[:2]), together[2:])
    assert not torch.equal(other(values), together)
    assert set(together.unique().tolist()) == {0.0, 2.0}
    assert together.mean(dim=1) == pytest.approx(torch.ones(4), abs=0.15)
    assert len({tuple(row) for row in together.tolist()}) == 4
    assert torch.equal(layer.eval()(values), values)


def test_dropout_layers_are_replaced_where_they_drop_anything() -> None:
    network = nn.Sequential(nn.Dropout(0.3), nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.0)), nn.Dropout(0.4))
    layers = bind_dropout(network, seed=1)
    assert [layer.p for layer in layers] == [0.3, 0.4]
    assert [type(module) for module in network] == [SampleDropout, nn.Sequential, SampleDropout]


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return tiny_bundle(tmp_path)


@pytest.mark.parametrize("values", [{"accumulation_steps": 8}, {"batch_size": 3}, {"batch_size": 1}])
def test_a_worker_may_have_an_odd_number_of_samples_where_nothing_is_mixed(
    values: dict[str, int], bundle: Bundle
) -> None:
    with_recipe = recipe(**values)
    trainer = Trainer(bundle, with_recipe, Worker())
    for step in range(2):
        assert trainer.train_step(share(Worker(), step, with_recipe.batch_size)).is_finite
    mixed = Trainer(bundle, recipe(**values, mixing=Mixing(0.5)), Worker())
    with pytest.raises(ValueError, match="not whole pairs"):
        mixed.train_step(share(Worker(), 0, with_recipe.batch_size))

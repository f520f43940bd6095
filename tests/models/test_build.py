from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from vidcnn.errors import BundleError, ModelError
from vidcnn.models.build import build_model, build_network, find_misfit, random_state, split_head
from vidcnn.models.bundle import Bundle
from vidcnn.models.registry import ARCHITECTURES, architecture
from vidcnn.models.resolve import make_bundle, starting_bundle

# The smallest clips, (T, H, W), that each kind of network takes.
SMALL_CLIPS = {
    "simple3d": (4, 16, 16),
    "r3d_18": (4, 32, 32),
    "mc3_18": (4, 32, 32),
    "r2plus1d_18": (4, 32, 32),
    "s3d": (16, 224, 224),
    "mvit_v1_b": (16, 224, 224),
    "mvit_v2_s": (16, 224, 224),
    "swin3d_t": (4, 32, 32),
    "swin3d_s": (4, 32, 32),
    "swin3d_b": (4, 32, 32),
}


def tiny_bundle(**options: Any) -> Bundle:
    options = {"weights": "random", "num_classes": 3, "arguments": {"width": 0.25}} | options
    return make_bundle("simple3d", **options)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_embedding_and_head_together_give_the_networks_logits(name: str) -> None:
    entry = ARCHITECTURES[name]
    network = build_network(entry, 7, device="cpu")
    # Dropout and stochastic depth are off, so that one clip says all; the head of a fresh network may be zero.
    for parameter in network.get_submodule(entry.head).parameters():
        nn.init.normal_(parameter)
    clip = torch.randn(1, 3, *SMALL_CLIPS[name])
    with torch.no_grad():
        expected = network(clip)
        backbone, head = split_head(network, entry)
        embedding = backbone(clip)
        assert embedding.shape == (1, head.in_features)
        torch.testing.assert_close(head(embedding), expected, rtol=0, atol=1e-4)
    assert expected.std() > 0.01


def test_a_bundle_becomes_a_network_with_its_weights_and_no_gradients() -> None:
    bundle = tiny_bundle(seed=5)
    network = build_model(bundle)
    expected = random_state(ARCHITECTURES["simple3d"], 3, {"width": 0.25}, seed=5)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in network.state_dict().items())
    assert not network.training
    assert not any(weight.requires_grad for weight in network.parameters())


def test_a_bundle_whose_arguments_do_not_fit_its_weights_is_refused() -> None:
    from dataclasses import replace

    with pytest.raises(BundleError, match=r"do not fit simple3d: shape of features\.0\.0\.weight is \(8, 3, 3, 3, 3\)"):
        build_model(replace(tiny_bundle(), arguments={}))
    with pytest.raises(BundleError, match="simple3d has no argument depth"):
        build_model(replace(tiny_bundle(), arguments={"depth": 3}))


def test_random_weights_depend_on_the_seed_and_on_nothing_else() -> None:
    entry = ARCHITECTURES["simple3d"]
    first = random_state(entry, 4)
    torch.rand(3)
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    again, other = random_state(entry, 4), random_state(entry, 4, seed=1)
    torch.set_num_threads(threads)
    assert all(torch.equal(tensor, again[name]) for name, tensor in first.items())
    assert not torch.equal(first["classifier.weight"], other["classifier.weight"])


def test_drawing_weights_leaves_the_process_random_state_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    random_state(ARCHITECTURES["simple3d"], 4)
    build_model(tiny_bundle())
    assert torch.equal(torch.rand(2), expected)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("r3d_18", {"width": 2}, "r3d_18 has no argument width: it takes none"),
        ("simple3d", {"depth": 2}, "simple3d has no argument depth: it takes channels, width"),
        ("simple3d", {"width": "wide"}, "simple3d cannot be built"),
        ("simple3d", {"downsample": "avg"}, "simple3d cannot be built: downsample"),
    ],
)
def test_a_wrong_argument_is_named(name: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        build_network(ARCHITECTURES[name], 3, arguments)


def test_a_misfit_names_the_first_few_and_counts_the_rest() -> None:
    network = build_network(ARCHITECTURES["simple3d"], 3)
    state = {name: torch.empty(tensor.shape) for name, tensor in network.state_dict().items()}
    assert not find_misfit(network, state)
    assert find_misfit(network, {"x": torch.empty(1)}) == (
        "missing features.0.0.weight, features.0.0.bias, features.1.0.weight and 7 more; unexpected x"
    )
    state["hidden.bias"] = torch.empty(9)
    assert find_misfit(network, state) == "shape of hidden.bias is (9,) instead of (256,)"


def test_arguments_of_earlier_bundles_are_taken_under_their_former_names() -> None:
    entry = architecture("simple3d")
    earlier, now = (build_network(entry, 3, {name: "both"}) for name in ("sees", "input_mode"))
    assert [tuple(value.shape) for value in earlier.state_dict().values()] == [
        tuple(value.shape) for value in now.state_dict().values()
    ]
    assert next(iter(earlier.parameters())).shape[1] == 5
    with pytest.raises(ModelError, match="has no argument sight"):
        build_network(entry, 3, {"sight": "both"})


@pytest.mark.parametrize(
    ("num_classes", "arguments", "message"),
    [
        (10**9, {}, "1,000,000,000 classes are more than 100,000"),
        (3, {"channels": [10**9]}, "must be <= 65536"),
        (3, {"channels": [1] * 10**6}, "must be <= 64"),
        (3, {"convs_per_block": 10**9}, "must be <= 64"),
        (3, {"hidden": 10**12}, "must be <= 65536"),
        (3, {"width": 1e300}, "must be <= 65536"),
        (3, {"width": float("inf")}, "cannot be built"),
        (3, {"width": float("nan")}, "cannot be built"),
        (3, {"channels": [60_000, 60_000]}, r"would have 388,\d{3},\d{3},\d{3} bytes of weights"),
    ],
)
def test_a_network_of_absurd_size_is_not_built(num_classes: int, arguments: dict[str, Any], message: str) -> None:
    for device in ("meta", "cpu"):
        with pytest.raises(ModelError, match=message):
            build_network(ARCHITECTURES["simple3d"], num_classes, arguments, device)


def test_no_head_is_drawn_for_a_bundle_that_claims_a_larger_network_than_it_has(tmp_path: Path) -> None:
    claims = replace(tiny_bundle(), arguments={"channels": [1000, 1000]})
    claims.save(tmp_path / "b")
    with pytest.raises(BundleError, match=r"do not fit simple3d: .*shape of"):
        starting_bundle(str(tmp_path / "b"), ("other", "classes"))

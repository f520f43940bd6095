from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from safetensors.torch import load, save

from vidcnn.models.backbone import backbone_sha256
from vidcnn.models.bundle import Bundle
from vidcnn.models.resolve import make_bundle
from vidcnn.sampling.segments import Sampling


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return make_bundle("simple3d", weights="random", num_classes=3, arguments={"width": 0.25}, seed=1)


def with_weights(bundle: Bundle, **changes: torch.Tensor) -> Bundle:
    return replace(bundle, weights=save(load(bundle.weights) | changes))


def test_another_head_of_as_many_classes_or_others_has_the_same_backbone(bundle: Bundle) -> None:
    size = bundle.embedding_size
    same = [
        replace(bundle, labels=("a", "b", "c"), multi_label=True),
        with_weights(bundle, **{"classifier.weight": torch.ones(3, size)}),
        replace(
            with_weights(bundle, **{"classifier.weight": torch.ones(3, size)}),
            labels=("a", "b"),
            weights=save(
                load(bundle.weights) | {"classifier.weight": torch.ones(2, size), "classifier.bias": torch.ones(2)}
            ),
        ),
    ]
    assert {backbone_sha256(one) for one in [bundle, *same]} == {backbone_sha256(bundle)}


def test_how_a_number_is_written_and_former_names_of_arguments_change_nothing(bundle: Bundle) -> None:
    written = replace(
        bundle,
        sampling=Sampling(16, fps=15.0),
        preprocessing=replace(bundle.preprocessing, std=(1.0, 1, 1.0)),
        arguments={"width": 0.25, "sees": "rgb"},
    )
    otherwise = replace(
        bundle,
        sampling=Sampling(16, fps=15),
        preprocessing=replace(bundle.preprocessing, std=(1, 1.0, 1)),
        arguments={"input_mode": "rgb", "width": 0.25},
    )
    assert backbone_sha256(written) == backbone_sha256(otherwise)


@pytest.mark.parametrize(
    "changes",
    [
        {"sampling": Sampling(16, stride=2)},
        {"sampling": Sampling(8, fps=15)},
        {"arguments": {"width": 0.25, "input_mode": "difference"}},
    ],
)
def test_all_else_that_an_embedding_depends_on_changes_the_hash(bundle: Bundle, changes: dict[str, Any]) -> None:
    assert backbone_sha256(replace(bundle, **changes)) != backbone_sha256(bundle)


def test_preprocessing_and_a_single_value_of_any_other_layer_change_the_hash(bundle: Bundle) -> None:
    hashes = {backbone_sha256(bundle)}
    hashes.add(backbone_sha256(replace(bundle, preprocessing=replace(bundle.preprocessing, interpolation="area"))))
    names = [name for name in load(bundle.weights) if not name.startswith("classifier.")]
    for name in names:
        changed = load(bundle.weights)[name].clone()
        changed.view(-1)[-1] += 1
        hashes.add(backbone_sha256(with_weights(bundle, **{name: changed})))
    assert len(names) > 5
    assert len(hashes) == len(names) + 2

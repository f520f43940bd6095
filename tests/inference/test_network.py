from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from vidcnn.inference.network import InferenceNetwork, fold_batch_norm
from vidcnn.models.build import build_network
from vidcnn.models.registry import ARCHITECTURES
from vidcnn.models.resolve import make_bundle

CPU = torch.device("cpu")
CONVOLUTIONAL = [name for name, entry in ARCHITECTURES.items() if entry.compiles]


def batch_norms(network: nn.Module) -> list[nn.BatchNorm3d]:
    return [module for module in network.modules() if isinstance(module, nn.BatchNorm3d)]


@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_folding_leaves_no_batch_norm_and_the_same_function(name: str) -> None:
    entry = ARCHITECTURES[name]
    arguments = {"batch_norm": True, "convs_per_block": 2} if name == "simple3d" else {}
    network = build_network(entry, 5, arguments, device="cpu")
    generator = torch.Generator().manual_seed(0)
    for norm in batch_norms(network):
        for values, low, high in (
            (norm.running_mean, -0.1, 0.1),
            (norm.running_var, 0.8, 1.25),
            (norm.weight, 0.8, 1.25),
            (norm.bias, -0.1, 0.1),
        ):
            assert values is not None
            values.data.uniform_(low, high, generator=generator)
    folded = copy.deepcopy(network)
    assert batch_norms(folded)
    fold_batch_norm(folded)
    assert not batch_norms(folded)
    shape = (16, 224, 224) if name == "s3d" else (4, 32, 32)
    clip = torch.randn(1, 3, *shape, generator=generator)
    with torch.no_grad():
        expected = network(clip)
        torch.testing.assert_close(folded(clip), expected, rtol=1e-4, atol=1e-4 * float(expected.std()))


def test_differences_between_frames_are_not_rounded_to_bf16() -> None:
    bundle = make_bundle("simple3d", weights="random", num_classes=5, arguments={"input_mode": "differences"})
    pixels = np.random.default_rng(0).integers(200, 202, (2, 6, 64, 64, 3), np.uint8)  # a change of one level
    exact, rounded = (InferenceNetwork(bundle, precision, CPU) for precision in ("exact", "bf16"))
    with torch.no_grad():
        expected, found = (network(torch.from_numpy(pixels))[1] for network in (exact, rounded))
    assert float((found - expected).abs().max()) < 0.02 * float(expected.abs().max())


@pytest.mark.parametrize("name", ["simple3d", "mc3_18", "swin3d_t"])
def test_bf16_keeps_half_the_bytes_of_the_layers_that_multiply(name: str) -> None:
    bundle = make_bundle(name, weights="random", num_classes=5)
    network = InferenceNetwork(bundle, "bf16", CPU)
    kinds = {
        type(module).__name__: weight.dtype
        for module in network.backbone.modules()
        for weight in module.parameters(recurse=False)
    }
    assert kinds["Conv3d"] == torch.bfloat16
    assert kinds.get("LayerNorm", torch.float32) == torch.float32
    assert network.head.weight.dtype == torch.float32
    assert network.is_mixed == (name == "swin3d_t")


@pytest.mark.parametrize("precision", ["exact", "fp32", "bf16"])
def test_outputs_are_float32_and_the_head_maps_embeddings_to_logits(precision: Any) -> None:
    network = InferenceNetwork(make_bundle("simple3d", weights="random", num_classes=5), precision, CPU)
    clips = torch.randint(0, 256, (2, 8, 24, 24, 3), dtype=torch.uint8)
    with torch.inference_mode():
        logits, embeddings = network(clips)
        assert (logits.dtype, embeddings.dtype) == (torch.float32, torch.float32)
        assert (logits.shape, embeddings.shape) == ((2, 5), (2, 256))
        assert torch.equal(network.head(embeddings), logits)

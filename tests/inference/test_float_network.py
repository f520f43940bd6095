"""The float network that int8 is calibrated by computes what the model computes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from vidcnn.inference.classifier import Classifier
from vidcnn.inference.float_network import FloatNetwork
from vidcnn.models.resolve import make_bundle


def test_its_parts_give_the_logits_of_the_model_for_frames_of_any_size() -> None:
    bundle = make_bundle("simple3d", weights="random", num_classes=4, arguments={"width": 0.25}, seed=3)
    bundle = replace(bundle, sampling=replace(bundle.sampling, num_frames=4))
    clips = np.random.default_rng(0).integers(0, 256, (3, 4, 96, 150, 3), np.uint8)
    network = FloatNetwork(bundle, clips)
    with torch.inference_mode():
        one_by_one = torch.cat([network.head(network.traced(batch)) for batch in network.batches()])
        some = network.head(network.traced(network.batch(np.array([2, 0]))))
    expected = Classifier(bundle, device="cpu", precision="fp32").predict(clips).probabilities
    np.testing.assert_allclose(one_by_one.softmax(dim=1).numpy(), expected, atol=1e-5)
    np.testing.assert_allclose(some.softmax(dim=1).numpy(), expected[[2, 0]], atol=1e-5)

"""Weights that are fine-tuned for int8 lose less by its rounding."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load, save

from vidcnn.choices import Precision
from vidcnn.inference.classifier import Classifier
from vidcnn.inference.float_network import FloatNetwork
from vidcnn.inference.int8_ops import why_no_int8
from vidcnn.inference.int8_tuning import _Student, tune
from vidcnn.inference.network import batch_norms
from vidcnn.inference.quantizing import calibrate, compare, layers
from vidcnn.models.build import build_model
from vidcnn.models.bundle import Bundle
from vidcnn.models.quantization import Quantization
from vidcnn.models.resolve import make_bundle
from vidcnn.video.pixels import UInt8Array

pytestmark = pytest.mark.skipif(why_no_int8() is not None, reason=f"no int8 here: {why_no_int8()}")


def small(architecture: str, *, batch_norm: bool = False, **values: Any) -> Bundle:
    """Return a model of tiny clips whose scores differ from clip to clip."""
    arguments = {"width": 0.25, "batch_norm": batch_norm} if architecture == "simple3d" else {}
    made = make_bundle(architecture, weights="random", num_classes=4, arguments=arguments, seed=3)
    state = load(made.weights)
    head = next(name for name in state if name.endswith("weight") and state[name].shape[0] == 4)
    state[head] *= 30
    made = replace(made, preprocessing=replace(made.preprocessing, resize=(32, 32), crop=(32, 32)), weights=save(state))
    return replace(made, sampling=replace(made.sampling, num_frames=8), **values)


@pytest.fixture(scope="module", params=["softmax", "sigmoid"])
def bundle(request: pytest.FixtureRequest) -> Bundle:
    return small("simple3d", multi_label=request.param == "sigmoid")


@pytest.fixture(scope="module")
def clips() -> UInt8Array:
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (96, 2, 8, 8, 3)) * random.uniform(0.1, 1, (96, 1, 1, 1, 3))
    return coarse.astype(np.uint8).repeat(4, axis=1).repeat(4, axis=2).repeat(4, axis=3)


def coarse(bundle: Bundle, clips: UInt8Array, factor: int = 16) -> Quantization:
    """Return a quantization that leaves few bytes for most values."""
    found = calibrate(bundle, clips)
    scales = {name: (step * factor, round(zero / factor)) for name, (step, zero) in found.scales.items()}
    return replace(found, scales=scales, source="")


def scores(bundle: Bundle, clips: UInt8Array, quantization: Quantization | None = None) -> NDArray[np.float32]:
    precision: Precision = "fp32" if quantization is None else "int8"
    whole = replace(bundle, quantization=quantization)
    return Classifier(whole, device="cpu", precision=precision).predict(clips).probabilities


@pytest.mark.parametrize(
    ("architecture", "times_nearer", "tolerance"),
    # In many layers, the last bit of a sum spreads where it decides a rounding.
    [("simple3d", 100, 0.02), ("r3d_18", 1.1, 0.5)],
)
def test_what_learns_gives_the_scores_of_the_network_on_bytes(
    architecture: str, times_nearer: float, tolerance: float, clips: UInt8Array
) -> None:
    some, bundle = clips[:8], small(architecture)
    quantization = coarse(bundle, some, 4)
    quantization = replace(quantization, kept=layers(bundle)[1:2])
    student = _Student(bundle, quantization, FloatNetwork(bundle, some))
    full, on_bytes = scores(bundle, some), scores(bundle, some, quantization)
    lost = compare(full, on_bytes).drift
    assert lost > 0.002  # there is something to learn
    everything = np.arange(len(some))
    assert student.distance(everything, torch.from_numpy(full)) == pytest.approx(lost, rel=tolerance)
    assert student.distance(everything, torch.from_numpy(on_bytes)) < lost / times_nearer


def test_fine_tuning_brings_scores_in_int8_nearer_also_of_clips_that_were_not_seen(
    bundle: Bundle, clips: UInt8Array
) -> None:
    quantization, told = coarse(bundle, clips), list[str]()
    tuned = tune(bundle, quantization, clips[:64], num_epochs=8, tell=told.append)
    assert len(told) == 8
    for some in (clips[:64], clips[64:]):
        full = scores(bundle, some)
        before = compare(full, scores(bundle, some, quantization)).drift
        after = compare(full, scores(tuned, some, quantization)).drift
        assert after < 0.8 * before


@pytest.mark.parametrize("batch_norm", [False, True])
def test_only_convolutions_on_bytes_and_what_follows_them_change(batch_norm: bool, clips: UInt8Array) -> None:
    bundle = small("simple3d", batch_norm=batch_norm)
    kept, *others = layers(bundle)
    quantization = replace(coarse(bundle, clips), kept=(kept,))
    tuned = tune(bundle, quantization, clips[:32], num_epochs=4)
    before, after = load(bundle.weights), load(tuned.weights)
    assert before.keys() == after.keys()
    changed = {name for name in before if not before[name].equal(after[name])}
    assert {f"{name}.weight" for name in others} < changed
    norms = batch_norms(build_model(bundle))
    assert bool(norms) == batch_norm
    assert changed == {f"{name}.weight" for name in others} | {f"{norms.get(name, name)}.bias" for name in others}


def test_weights_that_cannot_be_improved_stay_and_so_do_those_of_one_clip(bundle: Bundle, clips: UInt8Array) -> None:
    assert tune(bundle, coarse(bundle, clips), clips[:1], num_epochs=3) is bundle
    assert tune(bundle, coarse(bundle, clips), clips[:8], num_epochs=0) is bundle

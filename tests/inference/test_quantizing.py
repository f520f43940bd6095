"""What int8 costs is measured, and the layers that it would cost too much are kept."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load, save

from vidcnn.errors import BundleError, ModelError
from vidcnn.inference import quantizing
from vidcnn.inference.classifier import Classifier
from vidcnn.inference.int8_ops import why_no_int8
from vidcnn.inference.quantizing import compare, layers, measure, quantize
from vidcnn.models.bundle import Bundle
from vidcnn.models.quantization import Quantization
from vidcnn.models.resolve import make_bundle
from vidcnn.video.pixels import UInt8Array

needs_int8 = pytest.mark.skipif(why_no_int8() is not None, reason=f"no int8 here: {why_no_int8()}")


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    arguments = {"width": 0.25, "convs_per_block": 2}
    made = make_bundle("simple3d", weights="random", num_classes=4, arguments=arguments, seed=3)
    return replace(made, sampling=replace(made.sampling, num_frames=8))


@pytest.fixture(scope="module")
def clips() -> UInt8Array:
    random = np.random.default_rng(0)
    small = random.integers(0, 256, (24, 2, 8, 8, 3), dtype=np.uint8)
    return small.repeat(4, axis=1).repeat(8, axis=2).repeat(8, axis=3)


def quantization_of(bundle: Bundle, clips: UInt8Array, **options: Any) -> Quantization:
    found = quantize(bundle, clips, **options).quantization
    assert found is not None
    return found


def with_outlier(bundle: Bundle) -> Bundle:
    """Return a bundle with one layer that bytes cannot represent: a weight a thousand times the others."""
    state = load(bundle.weights)
    weight = state["features.1.0.weight"]
    weight[:, 0] *= 3000.0
    weight[:, 1:] *= 3.0
    return replace(bundle, weights=save(state))


def test_networks_are_compared_by_their_first_class_and_by_what_moves() -> None:
    full = np.array([[0.6, 0.4], [0.2, 0.8], [0.5, 0.5]], np.float32)
    other = np.array([[0.4, 0.6], [0.2, 0.8], [0.6, 0.4]], np.float32)
    found = compare(full, other)
    assert found.agreement == pytest.approx(2 / 3)
    assert found.drift == pytest.approx(0.1)
    assert found.largest_drift == pytest.approx(0.2)


@needs_int8
def test_a_network_is_quantized_whole_where_that_costs_little(bundle: Bundle, clips: UInt8Array) -> None:
    told: list[str] = []
    found = quantization_of(bundle, clips, min_agreement=0.9, tell=told.append)
    assert found.kept == ()
    assert found.source == bundle.weights_sha256
    assert found.num_clips == 24
    assert sum(text.startswith("trying ranges") for text in told) == 4
    quantized = replace(bundle, quantization=found)
    classifier = Classifier(quantized, device="cpu")
    assert classifier.precision == "int8"
    exact = Classifier(bundle, device="cpu", precision="fp32").predict(clips)
    assert compare(exact.probabilities, classifier.predict(clips).probabilities).drift < 0.01
    figures = measure(bundle, quantized, clips, np.zeros(24, np.int64))
    assert figures["clips"] == 24
    assert figures["top1_float32"] == pytest.approx(float((exact.probabilities.argmax(axis=1) == 0).mean()))
    assert figures["int8_clips_per_second"] > 0
    assert sum(name.endswith("clips_per_second") for name in figures) == 2


@needs_int8
def test_scores_in_int8_depend_on_the_clip_alone(bundle: Bundle, clips: UInt8Array) -> None:
    quantized = replace(bundle, quantization=quantization_of(bundle, clips[:8], min_agreement=0.0))
    whole = Classifier(quantized, device="cpu", num_threads=2).predict(clips).probabilities
    single = Classifier(quantized, device="cpu", num_threads=1)
    for index in (0, 7, 23):
        assert np.array_equal(single.predict(clips[index : index + 1]).probabilities[0], whole[index])


@needs_int8
def test_the_most_sensitive_layers_are_kept_and_no_more_than_it_takes(
    bundle: Bundle, clips: UInt8Array, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The scores of an int8 network are wrong here by a fixed amount for each of two layers that it has in int8."""
    names = layers(bundle)
    costs = {names[2]: 0.9, names[4]: 0.7}
    flat = Classifier(bundle, device="cpu", precision="fp32").predict(clips).probabilities

    def worse(_: Bundle, quantization: Quantization, some: UInt8Array) -> Any:
        cost = sum(value for name, value in costs.items() if name not in quantization.kept)
        right = flat[[int(np.flatnonzero((clips == clip).all(axis=(1, 2, 3, 4)))[0]) for clip in some]]
        return (1 - cost) * right + cost * (1 - right) if cost else right

    monkeypatch.setattr(quantizing, "_scores", worse)
    found = quantization_of(bundle, clips, min_agreement=0.99)
    assert set(found.kept) == set(costs)


@needs_int8
def test_a_network_that_would_be_half_in_bfloat16_is_refused(
    bundle: Bundle, clips: UInt8Array, monkeypatch: pytest.MonkeyPatch
) -> None:
    flat = Classifier(bundle, device="cpu", precision="fp32").predict(clips).probabilities
    monkeypatch.setattr(quantizing, "_scores", lambda *_: np.roll(flat, 1, axis=1)[: len(_[2])])
    with pytest.raises(ModelError, match="gives another class too often"):
        quantize(bundle, clips, min_agreement=0.99)


@needs_int8
def test_int8_of_other_weights_or_of_none_is_refused(bundle: Bundle, clips: UInt8Array) -> None:
    found = quantization_of(bundle, clips[:4], min_agreement=0.0)
    other = with_outlier(bundle)
    with pytest.raises(BundleError, match="was quantized for other weights"):
        Classifier(replace(other, quantization=found), device="cpu")
    damaged = dict.fromkeys(found.scales, (-1.0, 0))
    with pytest.raises(BundleError, match="is damaged: step"):
        Classifier(replace(bundle, quantization=replace(found, scales=damaged)), device="cpu")
    with pytest.raises(ModelError, match="was not quantized"):
        Classifier(bundle, device="cpu", precision="int8")


def test_where_there_is_no_int8_a_quantized_bundle_runs_as_before(
    bundle: Bundle, clips: UInt8Array, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("network", "quantizing"):
        monkeypatch.setattr(f"vidcnn.inference.{module}.why_no_int8", lambda: "the processor has none")
    quantized = replace(bundle, quantization=Quantization({}))
    assert Classifier(quantized, device="cpu").precision in ("bf16", "fp32")
    with pytest.raises(ModelError, match="the processor has none"):
        Classifier(quantized, device="cpu", precision="int8")
    with pytest.raises(ModelError, match="the processor has none"):
        quantize(bundle, clips, min_agreement=0.9)

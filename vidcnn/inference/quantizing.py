"""From a bundle and clips to its quantization: the best of several calibrations, and the layers that stay in bfloat16.

What is best is measured: by how far the int8 network's scores are from those of the float network on the same clips,
and by how often both have the same class first.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from statistics import median

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vidcnn.errors import ModelError
from vidcnn.inference.calibration import OBSERVERS, Observed, Observer, observe
from vidcnn.inference.classifier import Classifier
from vidcnn.inference.devices import fastest_precision
from vidcnn.inference.int8_network import convolutions, trace
from vidcnn.inference.int8_ops import why_no_int8
from vidcnn.inference.network import InferenceNetwork
from vidcnn.models.bundle import Bundle
from vidcnn.models.quantization import Quantization
from vidcnn.sampling.preprocessing import resize_and_crop_tensor

UInt8Array = NDArray[np.uint8]
Tell = Callable[[str], None]

_CPU = torch.device("cpu")
_NUM_SCANNED = 16
"""Clips on which each layer is tried alone."""
_NUM_ROUNDS = 5
_MAX_KEPT_SHARE = 0.5
"""Layers that may stay in bfloat16: with more, int8 is hardly worth it."""


@dataclass(frozen=True)
class Comparison:
    """Two networks on the same clips.

    Attributes:
        agreement: Share of the clips for which both have the same class first.
        drift: Mean over the clips of how much probability is moved: half the sum of the differences, in [0, 1].
        largest_drift: The largest of any clip.
    """

    agreement: float
    drift: float
    largest_drift: float


def find_quantization(
    bundle: Bundle, clips: UInt8Array, *, min_agreement: float, tell: Tell = lambda text: None
) -> Quantization:
    """Calibrate a bundle's network, and find the layers that have to stay in bfloat16.

    Args:
        bundle: The model.
        clips: Clips like those that it will classify, uint8 ``(N, T, H, W, 3)``.
        min_agreement: Share of the clips for which the first class is to stay the same; layers are kept in bfloat16,
            the most sensitive first, until it is reached.
        tell: Takes what is being done, in words for people.

    Raises:
        ModelError: The network cannot run in int8 here, or not without most of its layers in bfloat16.
    """
    reason = why_no_int8()
    if reason is not None:
        raise ModelError(reason, "quantize where it does: the bundle is then for all such processors")
    tell(f"calibrating on {len(clips):,} clips")
    observed, logits = _observe(bundle, clips)
    probabilities = _probabilities(bundle, logits)
    best: tuple[Comparison, Quantization] | None = None
    for observer in OBSERVERS:
        tell(f"trying ranges by {observer}")
        tried = _quantization(bundle, observed, observer)
        found = compare(probabilities, _scores(bundle, tried, clips))
        if best is None or found.drift < best[0].drift:
            best = found, tried
    assert best is not None
    comparison, chosen = best
    if comparison.agreement < min_agreement:
        chosen = _keep_layers(bundle, chosen, clips, probabilities, min_agreement, tell)
    return replace(chosen, source=bundle.weights_sha256, num_clips=len(clips))


def measure(
    bundle: Bundle,
    quantized: Bundle,
    clips: UInt8Array,
    targets: NDArray[np.int64] | None,
    tell: Tell = lambda text: None,
) -> Mapping[str, float]:
    """Compare a bundle with its quantized form, on clips that it was not calibrated on.

    Args:
        bundle: The model.
        quantized: The same with its quantization.
        clips: uint8 ``(N, T, H, W, 3)``.
        targets: Index of the class of each clip, if it is known.
        tell: Takes what is being done, in words for people.

    Returns:
        Figures by name: ``clips``; ``agreement``, ``drift`` and ``largest_drift`` as in `Comparison`, with the network
        in float32; clips per second of one process, ``int8_clips_per_second`` and that of the fastest float precision;
        ``top1_float32`` and ``top1_int8``, with targets.
    """
    tell(f"comparing on {len(clips):,} other clips")
    full = Classifier(bundle, device="cpu", precision="fp32").predict(clips).probabilities
    small = Classifier(quantized, device="cpu", precision="int8").predict(clips).probabilities
    found = compare(full, small)
    figures = {
        "clips": float(len(clips)),
        "agreement": found.agreement,
        "drift": found.drift,
        "largest_drift": found.largest_drift,
    }
    if targets is not None:
        for name, scores in (("top1_float32", full), ("top1_int8", small)):
            figures[name] = float((scores.argmax(axis=1) == targets).mean())
    tell("measuring the speed of both")
    other = fastest_precision(_CPU)
    names = {"int8": "int8_clips_per_second", other: f"{other}_clips_per_second"}
    figures.update({names[precision]: speed for precision, speed in _speeds(quantized, clips, other).items()})
    return figures


def layers(bundle: Bundle) -> tuple[str, ...]:
    """Return the names of the network's convolutions that can run in int8, in the order in which they run."""
    return convolutions(trace(InferenceNetwork(bundle, "fp32", _CPU).backbone, bundle.architecture))


def compare(full: NDArray[np.float32], other: NDArray[np.float32]) -> Comparison:
    """Compare the probabilities ``(N, K)`` of two networks for the same clips."""
    moved = np.abs(full - other).sum(axis=1) / 2
    return Comparison(
        float((full.argmax(axis=1) == other.argmax(axis=1)).mean()), float(moved.mean()), float(moved.max())
    )


def _observe(bundle: Bundle, clips: UInt8Array) -> tuple[Observed, Tensor]:
    """Run the network in float32, and return what was seen of its values, and its logits."""
    network = InferenceNetwork(bundle, "fp32", _CPU)
    traced = trace(network.backbone, bundle.architecture)
    with torch.inference_mode():
        batches = (
            network.front(network.normalise(resize_and_crop_tensor(torch.from_numpy(clip[None]), bundle.preprocessing)))
            for clip in clips
        )
        observed, embeddings = observe(traced, batches)
        return observed, network.head(embeddings)


def _quantization(bundle: Bundle, observed: Observed, observer: Observer) -> Quantization:
    scales = {name: (scale.step, scale.zero) for name, scale in observed.scales(observer).items()}
    return Quantization(scales, observer=observer)


def _keep_layers(
    bundle: Bundle,
    quantization: Quantization,
    clips: UInt8Array,
    probabilities: NDArray[np.float32],
    min_agreement: float,
    tell: Tell,
) -> Quantization:
    """Keep the layers that cost most in bfloat16, as few as it takes."""
    names = layers(bundle)
    few = np.linspace(0, len(clips) - 1, min(_NUM_SCANNED, len(clips))).astype(int)
    drifts = {}
    for number, name in enumerate(names, start=1):
        tell(f"trying layer {number} of {len(names)} alone in int8")
        alone = replace(quantization, kept=tuple(other for other in names if other != name))
        drifts[name] = compare(probabilities[few], _scores(bundle, alone, clips[few])).drift
    ranked = sorted(names, key=lambda name: -drifts[name])
    num_kept = 1
    while num_kept <= _MAX_KEPT_SHARE * len(names):
        kept = frozenset(ranked[:num_kept])
        tried = replace(quantization, kept=tuple(name for name in names if name in kept))
        found = compare(probabilities, _scores(bundle, tried, clips))
        tell(f"with {num_kept} layers in bfloat16: {found.agreement:.1%} agree")
        if found.agreement >= min_agreement:
            return tried
        num_kept += max(1, num_kept // 2)
    raise ModelError(
        f"in int8 the network gives another class too often: {found.agreement:.1%} of {len(clips):,} clips agree with "
        f"{num_kept} of {len(names)} layers in bfloat16, and {min_agreement:.1%} are wanted",
        "lower --min-agreement, or give more clips like those that it was trained on",
    )


def _scores(bundle: Bundle, quantization: Quantization, clips: UInt8Array) -> NDArray[np.float32]:
    classifier = Classifier(replace(bundle, quantization=quantization), device="cpu", precision="int8")
    return classifier.predict(clips).probabilities


def _probabilities(bundle: Bundle, logits: Tensor) -> NDArray[np.float32]:
    scores: NDArray[np.float32] = (logits.sigmoid() if bundle.multi_label else logits.softmax(dim=1)).numpy()
    return scores


def _speeds(bundle: Bundle, clips: UInt8Array, other: str) -> dict[str, float]:
    """Return the clips per second of int8 and of a float precision, measured in turns."""
    classifiers = {
        precision: Classifier(bundle, device="cpu", precision=precision)  # type: ignore[arg-type]
        for precision in ("int8", other)
    }
    seconds: dict[str, list[float]] = {precision: [] for precision in classifiers}
    for round_number in range(_NUM_ROUNDS + 1):
        for precision, classifier in classifiers.items():
            batch = clips[np.arange(classifier.batch_size) % len(clips)]
            began = time.perf_counter()
            classifier.predict(batch)
            if round_number:  # the first one is slower
                seconds[precision].append((time.perf_counter() - began) / len(batch))
    return {precision: 1 / median(measured) for precision, measured in seconds.items()}

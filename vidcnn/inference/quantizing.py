"""From a bundle and clips to its quantization: the best of several calibrations, and the layers that stay in float32.

What is best is measured: by how far the int8 network's scores are from those of the float network on the same clips,
and by how often both have the same class first.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vidcnn.errors import ModelError
from vidcnn.inference.calibration import OBSERVERS, Observed, find_corrections, observe
from vidcnn.inference.classifier import Classifier, to_probabilities
from vidcnn.inference.devices import fastest_precision
from vidcnn.inference.float_network import FloatNetwork
from vidcnn.inference.int8_network import convolutions, trace
from vidcnn.inference.int8_ops import as_pairs, as_scales, why_no_int8
from vidcnn.inference.int8_tuning import tune
from vidcnn.inference.network import InferenceNetwork
from vidcnn.models.build import build_network
from vidcnn.models.bundle import Bundle
from vidcnn.models.cost import count_multiply_adds
from vidcnn.models.quantization import Quantization
from vidcnn.models.registry import architecture
from vidcnn.video.pixels import UInt8Array

Tell = Callable[[str], None]

_CPU = torch.device("cpu")
_NUM_SCANNED = 16
"""Clips on which each layer is tried alone."""
_MOST_TRIED = 64
_LEAST_TRIED = 8
"""Clips on which each range is tried."""
_MAX_TRIED_MULTIPLY_ADDS = 20 * 10**12
"""Arithmetic that trying ranges may take: about a minute."""
_LEAST_GAIN = 0.98
"""What a range must bring the drift down to, to be taken."""
_NUM_ROUNDS = 5
_MUCH_DRIFT = 0.003
"""Share of the probability that may move before it is asked which layers move it."""
_MAX_KEPT_SHARE = 0.5
"""Layers that may stay in float32: with more, int8 is hardly worth it."""


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


def quantize(
    bundle: Bundle, clips: UInt8Array, *, min_agreement: float, num_epochs: int = 0, tell: Tell = lambda text: None
) -> Bundle:
    """Calibrate a bundle's network, fine-tune it, and find the layers that have to stay in float32.

    Args:
        bundle: The model.
        clips: Clips like those that it will classify, uint8 ``(N, T, H, W, 3)``.
        min_agreement: Share of the clips for which the first class is to stay the same; layers are kept in float32,
            the most sensitive first, until it is reached.
        num_epochs: How often each clip is seen in fine-tuning (`vidcnn.inference.int8_tuning`); 0 leaves the weights.
        tell: Takes what is being done, in words for people.

    Returns:
        The bundle with its quantization, and with other weights where it was fine-tuned.

    Raises:
        ModelError: The network cannot run in int8 here, or not without most of its layers in float32.
    """
    reason = why_no_int8()
    if reason is not None:
        raise ModelError(reason, "quantize where it does: the bundle is then for all such processors")
    tell(f"calibrating on {len(clips):,} clips")
    network = FloatNetwork(bundle, clips)
    observed, logits = _observe(network)
    probabilities = to_probabilities(logits, multi_label=bundle.multi_label)
    search = _Search(bundle, observed, convolutions(network.traced), clips, probabilities, tell)
    chosen = search.refined(search.best_observer())
    tell("correcting what rounding shifts")
    corrections = find_corrections(network.traced, as_scales(chosen.scales), network.batches())
    corrected = replace(chosen, corrections=corrections)
    chosen = search.better(chosen, corrected)
    searches = [search]
    if num_epochs:
        tuned = tune(bundle, chosen, clips, num_epochs=num_epochs, tell=tell)
        if tuned is not bundle:
            searches.append(_Search(tuned, observed, convolutions(network.traced), clips, probabilities, tell))
    # Weights that make up for rounding are not always better where some layers are in float32: both are tried.
    bundle, chosen = _with_fewest_kept(searches, chosen, min_agreement)
    return replace(bundle, quantization=replace(chosen, source=bundle.weights_sha256, num_clips=len(clips)))


def calibrate(bundle: Bundle, clips: UInt8Array) -> Quantization:
    """Calibrate a bundle's network for ranges that cover all values of some clips, and try nothing else."""
    observed, _ = _observe(FloatNetwork(bundle, clips))
    return Quantization(
        as_pairs(observed.scales("max")), source=bundle.weights_sha256, observer="max", num_clips=len(clips)
    )


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
        quantized: The same with its quantization, and maybe with fine-tuned weights.
        clips: uint8 ``(N, T, H, W, 3)``.
        targets: Index of the class of each clip, if it is known.
        tell: Takes what is being done, in words for people.

    Returns:
        Figures by name: ``clips``; ``agreement``, ``drift`` and ``largest_drift`` as in `Comparison`, with the network
        in float32; ``agreement_float32``, that of fine-tuned weights in float32; clips per second of one thread,
        ``int8_clips_per_second`` and that of the fastest float precision;
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
    if quantized.weights_sha256 != bundle.weights_sha256:
        tuned = Classifier(replace(quantized, golden=None), device="cpu", precision="fp32").predict(clips).probabilities
        figures["agreement_float32"] = compare(full, tuned).agreement
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


def _observe(network: FloatNetwork) -> tuple[Observed, Tensor]:
    """Return what is seen of a network's values for its clips, and its logits."""
    with torch.inference_mode():
        observed, embeddings = observe(network.traced, network.batches())
        return observed, network.head(embeddings)


class _Search:
    """Looks for the quantization whose scores are nearest to the float network's.

    Args:
        bundle: The model.
        observed: What was seen of the network's values.
        layers: Names of its convolutions.
        clips: What it is tried on, uint8 ``(N, T, H, W, 3)``.
        probabilities: What the float network gives for them, ``(N, K)``.
        tell: Takes what is being done, in words for people.
    """

    def __init__(
        self,
        bundle: Bundle,
        observed: Observed,
        layers: tuple[str, ...],
        clips: UInt8Array,
        probabilities: NDArray[np.float32],
        tell: Tell,
    ) -> None:
        self.bundle = bundle
        self._layers = layers
        self._clips = clips
        self._probabilities = probabilities
        self._tell = tell
        self._scales = {observer: as_pairs(observed.scales(observer)) for observer in OBSERVERS}
        self._compared: dict[str, Comparison] = {}  # on all clips, by the quantization's digest

    def best_observer(self) -> Quantization:
        """Return the quantization with all ranges chosen in the way that is best for most."""
        tried: list[tuple[float, Quantization]] = []
        for observer in OBSERVERS:
            self._tell(f"trying ranges by {observer}")
            quantization = Quantization(self._scales[observer], observer=observer)
            tried.append((self._compare(quantization).drift, quantization))
        return min(tried, key=lambda pair: pair[0])[1]

    def refined(self, quantization: Quantization) -> Quantization:
        """Return a quantization with the ranges chosen in another way of which that brings the scores nearer."""
        names = list(quantization.scales)
        num_trials = len(names) * (len(OBSERVERS) - 1)
        few = self._some(_MAX_TRIED_MULTIPLY_ADDS // (num_trials * _multiply_adds(self.bundle)))
        if len(few) < _LEAST_TRIED:
            return quantization
        best, drift, has_changed = quantization, self._compare(quantization, few).drift, False
        for number, name in enumerate(names, start=1):
            self._tell(f"trying other ranges for value {number} of {len(names)}")
            for observer in OBSERVERS:
                scale = self._scales[observer][name]
                if scale == best.scales[name]:
                    continue
                other = replace(best, scales={**best.scales, name: scale})
                found = self._compare(other, few).drift
                if found < _LEAST_GAIN * drift:
                    best, drift, has_changed = other, found, True
        return replace(best, observer=f"{quantization.observer} and others") if has_changed else quantization

    def better(self, one: Quantization, other: Quantization) -> Quantization:
        """Return that of two whose scores are nearer."""
        return one if self._compare(one).drift <= self._compare(other).drift else other

    def drift(self, quantization: Quantization) -> float:
        """Return how much probability is moved on average."""
        return self._compare(quantization).drift

    def with_layers_kept(self, quantization: Quantization, min_agreement: float) -> Quantization:
        """Return a quantization with as few layers in float32 as it takes, those first whose rounding costs most.

        A layer that costs most of all, such as a first one that takes small differences between large ones, is kept
        even where the first class does not change.
        """
        whole = self._compare(quantization)
        if whole.agreement >= min_agreement and whole.drift < _MUCH_DRIFT:
            return quantization
        names = self._layers
        few = self._some(_NUM_SCANNED)
        drifts = {}
        for number, name in enumerate(names, start=1):
            self._tell(f"trying layer {number} of {len(names)} alone in int8")
            alone = replace(quantization, kept=tuple(other for other in names if other != name))
            drifts[name] = self._compare(alone, few).drift
        ranked = sorted(names, key=lambda name: -drifts[name])
        num_kept = int(drifts[ranked[0]] > sum(drifts.values()) / 2)
        while num_kept <= max(1, int(_MAX_KEPT_SHARE * len(names))):
            kept = frozenset(ranked[:num_kept])
            tried = replace(quantization, kept=tuple(name for name in names if name in kept))
            found = self._compare(tried)
            self._tell(f"with {num_kept} layers in float32: {found.agreement:.1%} agree")
            if found.agreement >= min_agreement:
                return tried
            num_kept += max(1, num_kept // 2)
        raise ModelError(
            f"in int8 the network gives another class too often: {found.agreement:.2%} of {len(self._clips):,} clips "
            f"agree with half of its layers in float32, and {min_agreement:.2%} are wanted",
            "lower --min-agreement, or give more clips like those that it was trained on",
        )

    def _compare(self, quantization: Quantization, some: NDArray[np.int64] | None = None) -> Comparison:
        """Compare a quantization with the float network on all clips, or on some."""
        if some is None:
            if quantization.digest not in self._compared:
                scores = _scores(self.bundle, quantization, self._clips)
                self._compared[quantization.digest] = compare(self._probabilities, scores)
            return self._compared[quantization.digest]
        return compare(self._probabilities[some], _scores(self.bundle, quantization, self._clips[some]))

    def _some(self, number: int) -> NDArray[np.int64]:
        """Return the indexes of some clips, from all over them."""
        number = min(number, len(self._clips), _MOST_TRIED)
        return np.unique(np.linspace(0, len(self._clips) - 1, number).astype(np.int64)) if number else np.zeros(0, int)


def _with_fewest_kept(
    searches: Sequence[_Search], quantization: Quantization, min_agreement: float
) -> tuple[Bundle, Quantization]:
    """Return the bundle that needs the fewest layers in float32, or the one whose scores are nearest; and these layers.

    Raises:
        ModelError: None can do without most of them.
    """
    found: list[tuple[int, float, Bundle, Quantization]] = []
    failures: list[ModelError] = []
    for search in searches:
        try:
            chosen = search.with_layers_kept(quantization, min_agreement)
        except ModelError as failure:
            failures.append(failure)
        else:
            found.append((len(chosen.kept), search.drift(chosen), search.bundle, chosen))
    if not found:
        raise failures[0]
    return min(found, key=lambda each: each[:2])[2:]


def _multiply_adds(bundle: Bundle) -> int:
    network = build_network(architecture(bundle.architecture), len(bundle.labels), bundle.arguments)
    return count_multiply_adds(network, bundle.sampling.num_frames, bundle.preprocessing.crop)


def _scores(bundle: Bundle, quantization: Quantization, clips: UInt8Array) -> NDArray[np.float32]:
    classifier = Classifier(replace(bundle, quantization=quantization), device="cpu", precision="int8")
    return classifier.predict(clips).probabilities


def _speeds(bundle: Bundle, clips: UInt8Array, other: str) -> dict[str, float]:
    """Return the clips per second of int8 and of a float precision on one thread, each at its best of several turns.

    Threads that wait for each other, on a machine that does other work, too, would show that work.
    """
    num_threads = torch.get_num_threads()
    classifiers = {
        precision: Classifier(bundle, device="cpu", precision=precision, num_threads=1)  # type: ignore[arg-type]
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
    torch.set_num_threads(num_threads)
    return {precision: 1 / min(measured) for precision, measured in seconds.items()}

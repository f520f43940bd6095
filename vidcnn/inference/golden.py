"""Whether a loaded network computes what its bundle says it should: its scores of the golden clips are compared.

A kernel that computes wrong, a compilation or a rounding that changes the scores, and weights that are not those of the
bundle show here, before there is any row. The next safer way to compute is then for the caller to take
(`vidcnn.inference.runtime`); where float32 itself gives other scores there is none.

Letters: N clips, D values of the embedding, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vidcnn.choices import Precision
from vidcnn.errors import ModelError
from vidcnn.inference.devices import ieee_float32
from vidcnn.inference.network import InferenceNetwork
from vidcnn.inference.transfer import Network
from vidcnn.models.bundle import Bundle
from vidcnn.models.golden import FORMULA, MOST_CLIPS, Golden, GoldenScores, golden_clips, labels_digest
from vidcnn.models.registry import architecture

TOLERANCES: Mapping[Precision, float] = {"exact": 1e-3, "fp32": 1e-2, "bf16": 5e-2, "int8": 5e-2}
"""How far from what is expected a network may be (see `Distance`), some five times as far as any was seen to be.

Measured on networks of all families of the zoo and on trained ones: float32 1e-6 at most, bfloat16 0.011. On GPUs
``fp32`` may be TF32, which is eight times as fine as bfloat16. What int8 is compared with is int8 of another processor.
"""

_MANY_MULTIPLY_ADDS = 5 * 10**10
"""For a network that needs more for a clip, one golden clip must do: a second would take seconds."""

_LEAST_SPREAD = 0.25
"""Of logits, as a share of the product of the lengths of an embedding and of the weights of a class."""
_PERMUTED_SHARE = 0.01


@dataclass(frozen=True)
class Distance:
    """How far a network's scores are from those expected, in the clip where they are farthest.

    Attributes:
        embeddings: Length of the difference of two embeddings, as a share of the length of the one expected.
        logits: The largest difference of two logits, as a share of the spread of those expected.
        is_permuted: Whether the logits are those expected, of other classes.
    """

    embeddings: float
    logits: float
    is_permuted: bool = False

    def describe(self, allowed: float) -> str:
        """Return in words how far they are, and how far they may be."""
        embeddings, logits = (
            f"{share:.2%} off" if math.isfinite(share) else "no numbers" for share in (self.embeddings, self.logits)
        )
        return f"embeddings are {embeddings}, logits {logits}, and {allowed:.2%} is allowed"

    @property
    def largest(self) -> float:
        """The larger of both."""
        return max(self.embeddings, self.logits)


Clips = NDArray[np.uint8]


class GoldenCheck:
    """Compares a network's scores with those that its bundle records.

    Args:
        bundle: The model.
        precision: How the network computes.
        device: Where it computes.
        batch_size: Clips that it takes at once.
        compiled: Whether it is compiled, for batches of this size and for clips of the bundle's size.

    Attributes:
        is_known: Whether the bundle records something that the network can be compared with.
    """

    def __init__(
        self, bundle: Bundle, precision: Precision, device: torch.device, batch_size: int, *, compiled: bool = False
    ) -> None:
        self._bundle = bundle
        self._precision = precision
        self._device = device
        self._batch_size = batch_size
        self._compiled = compiled
        golden = bundle.golden
        fits = golden is not None and not (compiled and golden.size != bundle.clip_size)
        self._expected = _expected(golden, precision) if golden is not None and fits else None
        self.is_known = self._expected is not None

    def difference(self, network: Network) -> str | None:
        """Run a network on the golden clips.

        Args:
            network: Computes on the device.

        Returns:
            In words, what is wrong with the scores; None where nothing is, or nothing is known.

        Raises:
            ModelError: They are wrong in float32, too, so that there is no right way to compute them here.
        """
        golden = self._bundle.golden
        if golden is None or self._expected is None:
            return None
        clips = golden_clips(len(self._expected.spreads), *golden.size)
        found = _distance(_run(network, self._batch(clips), self._precision), self._expected)
        allowed = self._allowed(self._precision)
        if found.largest <= allowed:
            return None
        if self._precision == "exact":
            raise self._failure(found, allowed)
        exact = InferenceNetwork(self._bundle, "exact", self._device)
        reference = _distance(_run(exact, self._batch(clips), "exact"), golden.expected["exact"])
        if reference.largest > self._allowed("exact"):
            raise self._failure(reference, self._allowed("exact"))
        compiled = ", compiled," if self._compiled else ""
        return (
            f"{self._bundle.architecture} in {self._precision}{compiled} gives wrong scores for the golden clips of "
            f"its bundle on {self._device} with torch {torch.__version__}: {found.describe(allowed)}"
        )

    def _batch(self, clips: Clips) -> Tensor:
        """Return the first clips as a batch on the device; on the CPU without padding, which would take long."""
        clips = clips[: self._batch_size]
        is_whole = self._compiled or self._device.type != "cpu"
        batch = torch.zeros(self._batch_size if is_whole else len(clips), *clips.shape[1:], dtype=torch.uint8)
        batch[: len(clips)] = torch.from_numpy(clips)
        return batch.to(self._device)

    def _allowed(self, precision: Precision) -> float:
        assert self._bundle.golden is not None
        return self._bundle.golden.tolerances.get(precision, TOLERANCES[precision])

    def _failure(self, found: Distance, allowed: float) -> ModelError:
        text = (
            f"{self._bundle.architecture} does not give the scores that its bundle records for its golden clips, not "
            f"even in exact precision, on {self._device} with torch {torch.__version__}: {found.describe(allowed)}"
        )
        if found.is_permuted:
            return ModelError(
                f"{text}; they are those of other classes",
                "the last layer or the labels are in another order than they were: copy the whole bundle again",
            )
        return ModelError(
            text,
            "the weights or the settings in model.json are not those that the bundle was made with: copy the whole "
            "bundle again; if it is whole, this version of torch computes wrong here: try --device cpu, or another one",
        )


def with_golden(bundle: Bundle) -> Bundle:
    """Return a bundle with a record of what it makes of the golden clips; without one if that is no number.

    What was recorded in float32 already is kept.
    """
    before = bundle.golden if bundle.golden is not None and bundle.golden.formula == FORMULA else None
    entry = architecture(bundle.architecture)
    clips = golden_clips(1 if entry.multiply_adds > _MANY_MULTIPLY_ADDS else MOST_CLIPS, *bundle.clip_size)
    expected = {"exact": before.expected["exact"] if before is not None else _scores(bundle, "exact", clips)}
    if bundle.quantization is not None:
        expected["int8"] = _scores(bundle, "int8", clips)
    golden = Golden(
        formula=FORMULA,
        size=bundle.clip_size,
        labels_sha256=labels_digest(bundle.labels),
        expected=expected,
        tolerances={name: value for name, value in TOLERANCES.items() if name != "int8" or name in expected},
    )
    is_known = all(np.isfinite(values).all() for scores in expected.values() for values in scores.read())
    return replace(bundle, golden=golden if is_known else None)


def _expected(golden: Golden, precision: Precision) -> GoldenScores | None:
    if golden.formula != FORMULA:
        return None
    return golden.expected.get("int8" if precision == "int8" else "exact")


def _scores(bundle: Bundle, precision: Precision, clips: Clips) -> GoldenScores:
    """Compute what is recorded."""
    network = InferenceNetwork(bundle, precision, torch.device("cpu"))
    logits, embeddings = _run(network, torch.from_numpy(clips), precision)
    return GoldenScores.of(embeddings, logits, _spreads(network, embeddings, logits))


def _run(network: Network, clips: Tensor, precision: Precision) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return logits ``(M, K)`` and embeddings ``(M, D)`` of M clips."""
    with torch.inference_mode(), ieee_float32() if precision == "exact" else nullcontext():
        logits, embeddings = network(clips)
    return logits.float().cpu().numpy(), embeddings.float().cpu().numpy()


def _spreads(
    network: InferenceNetwork, embeddings: NDArray[np.float32], logits: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return for each clip how far its logits are from each other, ``(N,)``.

    Of two classes that are as likely as each other, or of a single one, that says nothing. So it is no less than a
    share of what an embedding of this length can make: with it, a small error of the embedding is no large one of the
    logits, whatever its direction.
    """
    weights = network.head.weight.detach().float().numpy()  # (K, D)
    lengths = np.sqrt(np.square(weights).sum(axis=1).mean()) * np.linalg.norm(embeddings, axis=1)
    least = np.maximum(_LEAST_SPREAD * lengths, np.finfo(np.float32).tiny)
    spreads: NDArray[np.float32] = np.maximum(logits.std(axis=1), least)
    return spreads


def _distance(found: tuple[NDArray[np.float32], NDArray[np.float32]], expected: GoldenScores) -> Distance:
    """Compare logits ``(M, K)`` and embeddings ``(M, D)`` with those expected, as far as both go."""
    num_clips = min(len(found[0]), len(expected.spreads))
    logits, embeddings = (values[:num_clips].astype(np.float64) for values in found)
    good_embeddings, good_logits = (values[:num_clips].astype(np.float64) for values in expected.read())
    spreads = np.array(expected.spreads[:num_clips])

    def logits_distance(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
        return _largest(abs(one - other).max(axis=1) / spreads)

    lengths = np.maximum(np.linalg.norm(good_embeddings, axis=1), np.finfo(np.float32).tiny)
    of_logits = logits_distance(logits, good_logits)
    of_sorted = logits_distance(np.sort(logits, axis=1), np.sort(good_logits, axis=1))
    return Distance(
        _largest(np.linalg.norm(embeddings - good_embeddings, axis=1) / lengths),
        of_logits,
        is_permuted=of_sorted < _PERMUTED_SHARE * of_logits,
    )


def _largest(distances: NDArray[np.float64]) -> float:
    """Return the largest of some distances; infinity where one is no number."""
    largest = float(distances.max())
    return math.inf if math.isnan(largest) else largest

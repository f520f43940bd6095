"""How well found events agree with known ones: mean average precision at thresholds of temporal overlap.

The measure of the ActivityNet challenge's detection task (Caba Heilbron et al. 2015), by its own rules: within a class,
events are taken by falling score; one is right if it overlaps a known event of its video that no other one has taken by
at least the threshold (the one that it overlaps most goes first), and wrong otherwise; precision is made to fall, and
summed up over recall. Overlap is the length of the intersection over that of the union.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
"""Those that ActivityNet takes the mean over."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Known:
    """A known event.

    Attributes:
        video: Name of its video.
        label: Its class.
        start_seconds: Where it starts.
        end_seconds: Where it ends.
    """

    video: str
    label: str
    start_seconds: float
    end_seconds: float


@dataclass(frozen=True)
class Found(Known):
    """A found event, with its score."""

    score: float


@dataclass(frozen=True)
class Agreement:
    """How well found events agree with known ones.

    Attributes:
        thresholds: Least overlaps, T of them.
        labels: Classes that are known, K of them, by name.
        precision: Average precision of each class at each threshold, (K, T).
    """

    thresholds: tuple[float, ...]
    labels: tuple[str, ...]
    precision: Floats

    @property
    def at(self) -> dict[float, float]:
        """Mean average precision over classes, by threshold."""
        return dict(zip(self.thresholds, map(float, self.precision.mean(axis=0)), strict=True))

    @property
    def mean(self) -> float:
        """Mean over classes and thresholds."""
        return float(self.precision.mean())


def evaluate(known: Sequence[Known], found: Sequence[Found], thresholds: Sequence[float] = THRESHOLDS) -> Agreement:
    """Measure found events.

    Args:
        known: What is there; at least one.
        found: What was found. Classes that are not known do not count.
        thresholds: Least overlaps.

    Raises:
        ValueError: Nothing is known.
    """
    labels = tuple(sorted({event.label for event in known}))
    if not labels:
        raise ValueError("no event is known")
    rows = [
        _average_precision(
            [event for event in known if event.label == label],
            [event for event in found if event.label == label],
            np.asarray(thresholds, np.float64),
        )
        for label in labels
    ]
    return Agreement(tuple(thresholds), labels, np.array(rows))


def overlaps(start: float, end: float, starts: Floats, ends: Floats) -> Floats:
    """Return by how much an interval overlaps others: intersection over union, (N,)."""
    shared = np.maximum(0.0, np.minimum(end, ends) - np.maximum(start, starts))
    union = (ends - starts) + (end - start) - shared
    shares: Floats = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return shares


def _average_precision(known: Sequence[Known], found: Iterable[Found], thresholds: Floats) -> Floats:
    """Return the average precision of a class at each threshold, (T,)."""
    by_video: dict[str, list[Known]] = {}
    for event in known:
        by_video.setdefault(event.video, []).append(event)
    places = {video: (np.array([e.start_seconds for e in events]), np.array([e.end_seconds for e in events]))
              for video, events in by_video.items()}  # fmt: skip
    taken = {video: np.zeros((len(thresholds), len(events)), np.bool_) for video, events in by_video.items()}
    ordered = sorted(found, key=lambda event: -event.score)
    is_right = np.zeros((len(thresholds), len(ordered)), np.bool_)
    for number, event in enumerate(ordered):
        if event.video in places:
            shares = overlaps(event.start_seconds, event.end_seconds, *places[event.video])
            is_right[:, number] = _take(shares, taken[event.video], thresholds)
    hits, misses = is_right.cumsum(axis=1), (~is_right).cumsum(axis=1)
    return np.array(
        [interpolated(right / (right + wrong), right / len(known)) for right, wrong in zip(hits, misses, strict=True)]
    )


def _take(shares: Floats, taken: NDArray[np.bool_], thresholds: Floats) -> list[bool]:
    """Take for one found event the known one that it overlaps most and nobody has, for each threshold."""
    order = np.argsort(-shares, kind="stable")
    results = []
    for mine, threshold in zip(taken, thresholds, strict=True):
        free = next((place for place in order if shares[place] >= threshold and not mine[place]), None)
        if free is not None:
            mine[free] = True
        results.append(free is not None)
    return results


def interpolated(precision: Floats, recall: Floats) -> float:
    """Return the area under precision over recall, where precision is the best at that recall or a higher one."""
    best = np.maximum.accumulate(np.concatenate([[0.0], precision, [0.0]])[::-1])[::-1]
    steps = np.concatenate([[0.0], recall, [1.0]])
    changes = np.flatnonzero(steps[1:] != steps[:-1]) + 1
    return float(np.sum((steps[changes] - steps[changes - 1]) * best[changes]))

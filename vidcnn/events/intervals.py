"""From the scores of a video's clips to the stretches of time in which something happens.

Clips may overlap, and may leave out parts of a video. Where several cover a moment, its score is their mean; where none
does, nothing is known of it.

    scores of clips      .1  .2  .9  .8  .6  .1   .7  .1
    0.7, to the end 0.5          [==========]    [==]
    gap bridged                  [==================]
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_UNIT = 2.0**40
"""Scores are added as integers of this fraction, so that a sum is the same whatever was added and taken off before."""


@dataclass(frozen=True)
class Rules:
    """When something counts as happening.

    Args:
        threshold: Score that a stretch must reach somewhere.
        end_threshold: Score that it must have everywhere; at most `threshold`.
        smooth_seconds: A clip's score becomes the mean over clips whose middles are at most half of this away.
        gap_seconds: Stretches that are no further apart are one.
        min_seconds: What is shorter, after that, is left out.

    Raises:
        ValueError: A number cannot be.
    """

    threshold: float = 0.5
    end_threshold: float = 0.3
    smooth_seconds: float = 0.0
    gap_seconds: float = 0.0
    min_seconds: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.end_threshold <= self.threshold <= 1:
            raise ValueError("thresholds are above 0 and at most 1, and the lower one is at most the upper one")
        if not all(
            0 <= seconds < float("inf") for seconds in (self.smooth_seconds, self.gap_seconds, self.min_seconds)
        ):
            raise ValueError("lengths of time are at least 0")


@dataclass(frozen=True)
class Event:
    """A stretch of time in which something happens.

    Attributes:
        start_seconds: Presentation time of its start.
        end_seconds: Presentation time of its end.
        score: Mean over the time of it that clips cover.
        peak: The highest score in it.
        peak_seconds: The middle of the first part that has it.
    """

    start_seconds: float
    end_seconds: float
    score: float
    peak: float
    peak_seconds: float


def find_events(start_seconds: ArrayLike, end_seconds: ArrayLike, scores: ArrayLike, rules: Rules) -> list[Event]:
    """Find the stretches of a video in which one thing happens.

    Args:
        start_seconds: Where its clips start, (N,), in any order.
        end_seconds: Where they end, (N,); each after its start.
        scores: Probability of that thing in each, (N,).
        rules: When it counts as happening.

    Returns:
        Stretches that do not touch each other, by time.
    """
    starts, ends = np.asarray(start_seconds, np.float64), np.asarray(end_seconds, np.float64)
    values = np.rint(np.asarray(scores, np.float64) * _UNIT).astype(np.int64)
    if rules.smooth_seconds:
        values = _smooth((starts + ends) / 2, values, rules.smooth_seconds)
    bounds, sums, counts = _overlay(starts, ends, values)
    known = counts > 0
    means = np.where(known, sums / np.maximum(counts, 1), 0.0)  # of integers below 2^53: exact where one clip covers
    first, last = _runs(known & (means >= rules.end_threshold * _UNIT - 1))  # what differs by less is equal
    peaks = np.array([means[a:b].max() for a, b in zip(first, last, strict=True)], np.float64)
    is_high = peaks >= rules.threshold * _UNIT - 1
    first, last = _bridged(bounds, first[is_high], last[is_high], rules.gap_seconds)
    events = [_event(bounds[a : b + 1], means[a:b], known[a:b]) for a, b in zip(first, last, strict=True)]
    return [event for event in events if event.end_seconds - event.start_seconds >= rules.min_seconds]


def _smooth(middles: Floats, values: Integers, seconds: float) -> Integers:
    """Replace each value by the mean of those that are at most half of `seconds` away."""
    order = np.argsort(middles, kind="stable")
    sorted_middles = middles[order]
    totals = np.concatenate([np.zeros(1, np.int64), np.cumsum(values[order])])
    low = np.searchsorted(sorted_middles, middles - seconds / 2, side="left")
    high = np.searchsorted(sorted_middles, middles + seconds / 2, side="right")
    means: Integers = (totals[high] - totals[low]) // (high - low)
    return means


def _overlay(starts: Floats, ends: Floats, values: Integers) -> tuple[Floats, Integers, Integers]:
    """Lay clips over each other.

    Returns:
        The moments at which clips start or end, (M + 1,); and of the M parts between them the sum of the values of the
        clips that cover each, and their number.
    """
    bounds, places = np.unique(np.concatenate([starts, ends]), return_inverse=True)
    sums, counts = np.zeros(len(bounds), np.int64), np.zeros(len(bounds), np.int64)
    np.add.at(sums, places, np.concatenate([values, -values]))
    np.add.at(counts, places, np.repeat([1, -1], len(starts)))
    return bounds, np.cumsum(sums)[:-1], np.cumsum(counts)[:-1]


def _runs(is_in: NDArray[np.bool_]) -> tuple[Integers, Integers]:
    """Return where runs of true values begin, and where they are over."""
    edges = np.diff(np.concatenate([[0], is_in.astype(np.int8), [0]]))
    return np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)


def _bridged(bounds: Floats, first: Integers, last: Integers, gap_seconds: float) -> tuple[Integers, Integers]:
    """Join runs of parts that are no further apart."""
    if len(first) == 0:
        return first, last
    is_apart = bounds[first[1:]] - bounds[last[:-1]] > gap_seconds
    return first[np.concatenate([[True], is_apart])], last[np.concatenate([is_apart, [True]])]


def _event(bounds: Floats, means: Floats, known: NDArray[np.bool_]) -> Event:
    """Describe the stretch of some parts."""
    seconds = np.diff(bounds) * known
    peak = int(np.argmax(means))
    return Event(
        start_seconds=float(bounds[0]),
        end_seconds=float(bounds[-1]),
        score=float(np.dot(means, seconds) / seconds.sum() / _UNIT),
        peak=float(means[peak] / _UNIT),
        peak_seconds=float((bounds[peak] + bounds[peak + 1]) / 2),
    )

"""How long a run will take, from a sample of its videos.

From the sizes of files, and what some of them contain, to totals with a range. Pure arithmetic. The
videos, sorted by size, are cut into strata of neighbours; one of each stratum is looked at and speaks for the others.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_SIGMAS = 2.0
"""Standard errors to both sides of an estimate: some 95 % of estimates are within these."""
_UNKNOWN_SPREAD = 0.5
"""Relative error of a speed that was measured too shortly to see how it varies."""
_NUM_WINDOWS = 4


class Range(NamedTuple):
    """An estimate, and between what bounds the truth should be."""

    low: float
    best: float
    high: float

    @property
    def relative_error(self) -> float:
        """How far the upper bound is off, as a share of the estimate."""
        return self.high / self.best - 1 if self.best > 0 else 0.0

    @property
    def is_exact(self) -> bool:
        """Whether nothing was left to estimate."""
        return self.low == self.high


@dataclass(frozen=True)
class Stratum:
    """Videos of like size, and the one that speaks for them.

    Attributes:
        index: Which video speaks for them.
        num_videos: How many they are, itself included.
        size_bytes: Their size, all together.
        sampled_bytes: Its own size.
    """

    index: int
    num_videos: int
    size_bytes: int
    sampled_bytes: int

    def scaled(self, num_clips: int) -> float:
        """Return the clips of all of these videos, if the one has so many: clips are proportional to size."""
        if self.num_videos == 1:
            return float(num_clips)
        return num_clips * (self.size_bytes / self.sampled_bytes if self.sampled_bytes else self.num_videos)


def cut_strata(sizes: Sequence[int] | NDArray[np.int64], number: int) -> list[Stratum]:
    """Choose videos that are spread over a source by their size.

    Strata have about the same number of videos and bytes together: of large videos, which contain much of the source,
    more are chosen.

    Args:
        sizes: Size in bytes of each video.
        number: How many to choose; all where there are fewer.
    """
    sizes = np.asarray(sizes, np.int64)
    order = np.argsort(sizes, kind="stable")
    ordered = sizes[order]
    strata = []
    for start, end in pairwise(_cuts(ordered, min(number, len(sizes)))):
        middle = (start + end) // 2
        strata.append(Stratum(int(order[middle]), end - start, int(ordered[start:end].sum()), int(ordered[middle])))
    return strata


def estimate_clips(strata: Sequence[Stratum], num_clips: Sequence[int]) -> Range:
    """Estimate the clips of a source.

    How far videos of like size differ is seen from neighbouring strata: half the square of their difference is the
    variance of one.

    Args:
        strata: All strata of the source, in order.
        num_clips: Clips of the video that speaks for each.
    """
    totals = [stratum.scaled(clips) for stratum, clips in zip(strata, num_clips, strict=True)]
    best = math.fsum(totals)
    if all(stratum.num_videos == 1 for stratum in strata):
        return Range(best, best, best)
    variance = 0.0
    for (one, clips), (other, other_clips) in pairwise(zip(strata, num_clips, strict=True)):
        for mine, own, theirs in ((one, clips, other_clips), (other, other_clips, clips)):
            share = 1 - 1 / mine.num_videos  # of the stratum that was not looked at
            neighbour = _per_byte(other if mine is one else one, theirs) * mine.size_bytes
            variance += share * (mine.scaled(own) - neighbour) ** 2 / 4
    error = _SIGMAS * math.sqrt(variance) if len(strata) > 1 else best
    return Range(max(float(sum(num_clips)), best - error), best, best + error)


def estimate_seconds(
    clips: Range, *, starting_seconds: float, arrivals: Sequence[tuple[float, int]], is_whole: bool
) -> Range:
    """Estimate how long a run takes.

    Args:
        clips: Clips of the run.
        starting_seconds: Time before its first rows.
        arrivals: When rows of the sample arrived, in seconds, and how many clips; in order.
        is_whole: Whether the sample was the whole source.
    """
    measured = sum(num_clips for _, num_clips in arrivals[1:])
    steady = arrivals[-1][0] - arrivals[0][0] if arrivals else 0.0
    if not measured or is_whole:
        total = starting_seconds + steady
        return Range(total, total, total * (1.0 if is_whole else 1 + _UNKNOWN_SPREAD))
    each = steady / measured
    error = speed_error(arrivals)
    spread = math.hypot(error, clips.relative_error)
    best = each * clips.best
    low = max(each * clips.low * (1 - error), best * (1 - spread), 0.0)
    return Range(starting_seconds + low, starting_seconds + best, starting_seconds + best * (1 + spread))


def speed_error(arrivals: Sequence[tuple[float, int]]) -> float:
    """Return the relative error of a mean speed, from how it varied while it was measured.

    Args:
        arrivals: When rows arrived, in seconds, and how many clips; in order.
    """
    if len(arrivals) <= 2 * _NUM_WINDOWS:
        return _UNKNOWN_SPREAD
    cuts = [(len(arrivals) - 1) * position // _NUM_WINDOWS for position in range(_NUM_WINDOWS + 1)]
    paces = []
    for start, end in pairwise(cuts):
        seconds = arrivals[end][0] - arrivals[start][0]
        paces.append(seconds / max(1, sum(num_clips for _, num_clips in arrivals[start + 1 : end + 1])))
    mean = statistics.fmean(paces)
    return _SIGMAS * statistics.stdev(paces) / math.sqrt(_NUM_WINDOWS) / mean if mean > 0 else _UNKNOWN_SPREAD


def _cuts(sizes: NDArray[np.int64], number: int) -> list[int]:
    """Cut sizes, in order, into strata, none of them empty.

    Returns:
        Where strata begin and end: ``number + 1`` positions, from 0 to the number of sizes.
    """
    if not len(sizes):
        return []
    weight = int(sizes.sum()) / len(sizes) or 1.0  # what a video counts for, in bytes, besides its own
    reached = np.cumsum(sizes + weight)
    cuts = [0]
    for position in range(1, number):
        wanted = int(np.searchsorted(reached, reached[-1] * position / number))
        cuts.append(min(max(wanted, cuts[-1] + 1), len(sizes) - number + position))
    return [*cuts, len(sizes)]


def _per_byte(stratum: Stratum, num_clips: int) -> float:
    if not stratum.size_bytes:
        return 0.0
    return stratum.scaled(num_clips) / stratum.size_bytes

"""Choosing rules for a class by videos of which its events are known.

What is made large is the F1 score: events are compared as in `vidcnn.events.evaluation`, at one threshold of overlap.
One number after the other is tried while all others stay, twice around. How good the choice is on videos that did not
take part in it is found by cross-validation.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vidcnn.errors import DataError
from vidcnn.events.evaluation import Known, overlaps
from vidcnn.events.intervals import Floats, Rules, find_events
from vidcnn.events.known import Truth
from vidcnn.events.rules import END_SHARE
from vidcnn.events.scores import VideoScores, read_scores
from vidcnn.predictions.table import Table

MIN_OVERLAP = 0.5
NUM_FOLDS = 5
_THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(1, 20))
_END_SHARES = (1.0, 0.8, END_SHARE, 0.4)
_CLIPS = (0.0, 1.0, 2.0, 4.0)
"""Lengths of time that are tried, as multiples of a clip."""
_STEPS = ("threshold", "smooth_seconds", "gap_seconds", "min_seconds")
_ROUNDS = 2


class Counts(NamedTuple):
    """Events of a class, counted.

    Attributes:
        num_right: Found ones that are right.
        num_found: Found ones.
        num_known: Known ones.
    """

    num_right: int = 0
    num_found: int = 0
    num_known: int = 0

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall; 1 where nothing is known and nothing was found."""
        both = self.num_found + self.num_known
        return 2 * self.num_right / both if both else 1.0


@dataclass(frozen=True)
class Tuned:
    """The rules of a class, and what they reach.

    Attributes:
        rules: The rules.
        num_known: Events of it that are known.
        f1: Over the videos that chose them, in [0, 1].
        f1_elsewhere: Over videos that took no part in the choice; None where there are too few.
    """

    rules: Rules
    num_known: int
    f1: float
    f1_elsewhere: float | None


@dataclass(frozen=True, eq=False)
class Track:
    """A class in one video.

    Attributes:
        start_seconds, end_seconds, scores: Of each clip, (N,).
        known_starts, known_ends: Of each known event, (M,).
    """

    start_seconds: Floats
    end_seconds: Floats
    scores: Floats
    known_starts: Floats
    known_ends: Floats


def tune_all(table: Table, truth: Truth, labels: Collection[str] | None = None) -> dict[str, Tuned]:
    """Choose the rules of each class of which events are known.

    Args:
        table: The scores.
        truth: What is known of its videos, or of some of them.
        labels: Only these classes; None for all.

    Raises:
        DataError: The table has none of the videos, or none of the classes.
        OutputError: A file of the table is damaged.
    """
    known = truth.under_names(merged.video for merged in table.entries())
    wanted = sorted({event.label for event in known.events if labels is None or event.label in labels})
    videos = [scores for scores in read_scores(table, wanted) if scores.video in known.videos]
    has_clips = any(len(video.start_seconds) for video in videos)
    if not has_clips or not wanted:
        what = "of these classes is known" if has_clips else f"is in '{table.location}'"
        raise DataError(f"no event {what}", "names of videos and classes are to be those of the table")
    return {label: tune(_tracks(videos, known.events, label), Rules()) for label in wanted}


def _tracks(videos: Sequence[VideoScores], known: Sequence[Known], label: str) -> list[Track]:
    """Return a class in each video that has clips."""
    by_video: dict[str, list[Known]] = {}
    for event in known:
        if event.label == label:
            by_video.setdefault(event.video, []).append(event)
    return [
        Track(
            video.start_seconds,
            video.end_seconds,
            video.scores.get(label, np.zeros(len(video.start_seconds))),
            np.array([event.start_seconds for event in by_video.get(video.video, ())], np.float64),
            np.array([event.end_seconds for event in by_video.get(video.video, ())], np.float64),
        )
        for video in videos
        if len(video.start_seconds)
    ]


def tune(tracks: Sequence[Track], base: Rules) -> Tuned:
    """Choose the rules of a class.

    Args:
        tracks: The class in each video; at least one.
        base: Where the search starts, and what stays where nothing is better.
    """
    search = _Search(tracks)
    all_of_them = np.arange(len(tracks))
    rules = search.best(all_of_them, base)
    # Videos with events and those without are dealt out apart, so that each part has some of both.
    is_empty = np.array([len(track.known_starts) == 0 for track in tracks])
    order = np.argsort(is_empty, kind="stable")
    num_folds = min(NUM_FOLDS, int((~is_empty).sum()))
    folds = [order[fold::num_folds] for fold in range(num_folds)] if num_folds > 1 else []
    elsewhere = sum(
        (search.counts(search.best(np.setdiff1d(all_of_them, own), base))[own].sum(axis=0) for own in folds),
        start=np.zeros(3, np.int64),
    )
    reached = search.counts(rules).sum(axis=0)
    return Tuned(
        rules=rules,
        num_known=int(reached[2]),
        f1=Counts(*reached.tolist()).f1,
        f1_elsewhere=Counts(*elsewhere.tolist()).f1 if folds else None,
    )


def count(track: Track, rules: Rules, min_overlap: float = MIN_OVERLAP) -> Counts:
    """Count the events that rules find in a video, and those that are right.

    Args:
        track: A class in it.
        rules: The rules.
        min_overlap: Least intersection over union of an event that is right.
    """
    events = find_events(track.start_seconds, track.end_seconds, track.scores, rules)
    free = np.ones(len(track.known_starts), np.bool_)
    num_right = 0
    for event in sorted(events, key=lambda event: -event.score) if len(free) else ():
        shares = overlaps(event.start_seconds, event.end_seconds, track.known_starts, track.known_ends) * free
        if shares.max() >= min_overlap:
            free[int(shares.argmax())] = False
            num_right += 1
    return Counts(num_right, len(events), len(free))


class _Search:
    """The search for rules over some videos or others; what rules find in a video is counted once."""

    def __init__(self, tracks: Sequence[Track]) -> None:
        self._tracks = tracks
        self._clip = median(float(np.median(track.end_seconds - track.start_seconds)) for track in tracks)
        self._counts: dict[Rules, NDArray[np.int64]] = {}

    def counts(self, rules: Rules) -> NDArray[np.int64]:
        """Return the `Counts` of each video, (V, 3)."""
        if rules not in self._counts:
            self._counts[rules] = np.array([count(track, rules) for track in self._tracks], np.int64)
        return self._counts[rules]

    def best(self, videos: NDArray[np.int64], base: Rules) -> Rules:
        """Return the rules that are best for some videos."""
        rules = base
        for _ in range(_ROUNDS):
            for step in _STEPS:
                rules = self._best_of(videos, rules, _candidates(rules, step, self._clip))
        return rules

    def _f1(self, videos: NDArray[np.int64], rules: Rules) -> float:
        return Counts(*self.counts(rules)[videos].sum(axis=0).tolist()).f1

    def _best_of(self, videos: NDArray[np.int64], now: Rules, candidates: list[Rules]) -> Rules:
        """Return the candidate that is best; of several, the one in the middle of the first run of them."""
        reached = [self._f1(videos, rules) for rules in candidates]
        best = max(reached)
        if self._f1(videos, now) >= best:
            return now
        first = reached.index(best)
        last = first
        while last + 1 < len(reached) and reached[last + 1] == best:
            last += 1
        return candidates[(first + last) // 2]


def _candidates(rules: Rules, step: str, clip_seconds: float) -> list[Rules]:
    """Return the candidates of a step, which differ from the best so far in one thing."""
    if step != "threshold":
        return [replace(rules, **{step: number * clip_seconds}) for number in _CLIPS]
    return [
        replace(rules, threshold=threshold, end_threshold=threshold * share)
        for share in _END_SHARES
        for threshold in _THRESHOLDS
    ]

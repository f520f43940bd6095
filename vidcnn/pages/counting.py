"""What a whole table of predictions comes to, counted in one pass over pieces of it.

Takes pieces with the columns of `COLUMNS`, in any order; keeps numbers, the names of some videos, and eight bytes for
each video: a table of hundreds of millions of rows never is in memory.

Letters: K labels.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vidcnn.predictions.index import hashes

COLUMNS = ("video", "clip", "start_seconds", "end_seconds", "label", "score", "error", "error_kind")
NUM_BINS = 20
"""Bins of the histogram of scores, each of the same width in [0, 1]."""
NUM_NAMED = 5
"""Videos that are named for each kind of error."""
_UNKNOWN_KIND = "unknown"
_MOST_HASHES = 4_000_000


@dataclass
class ErrorCount:
    """Rows with one kind of error.

    Attributes:
        num_rows: How many there are.
        first: The first of the videos with such rows by name, each with one of its messages.
    """

    num_rows: int = 0
    first: dict[str, str] = field(default_factory=dict)


@dataclass
class Counts:
    """What a table comes to.

    Attributes:
        num_rows: All rows.
        num_clips: Rows of a clip.
        num_predictions: Rows without an error.
        num_videos: Distinct videos.
        labels: Names of the labels, in the order in which they were met.
        label_clips: Predictions of each label, K numbers.
        label_scores: Sum of their scores, K numbers.
        histogram: Predictions by score, int64 (K, NUM_BINS).
        errors: By kind.
        listed: The first videos by name, each with the largest index of its clips, or -1.
    """

    num_rows: int = 0
    num_clips: int = 0
    num_predictions: int = 0
    num_videos: int = 0
    labels: list[str] = field(default_factory=list)
    label_clips: list[int] = field(default_factory=list)
    label_scores: list[float] = field(default_factory=list)
    histogram: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, NUM_BINS), np.int64))
    errors: dict[str, ErrorCount] = field(default_factory=dict)
    listed: dict[str, int] = field(default_factory=dict)

    @property
    def num_errors(self) -> int:
        """Rows with an error."""
        return sum(count.num_rows for count in self.errors.values())

    @property
    def last_listed(self) -> str | None:
        """Name of the last video that is listed; None where all are."""
        return max(self.listed) if len(self.listed) < self.num_videos else None


def count_rows(pieces: Iterable[pa.Table], *, max_listed: int) -> Counts:
    """Count the rows of a table.

    Args:
        pieces: Tables with the columns of `COLUMNS`, dictionaries decoded.
        max_listed: How many videos to name, the first by name.
    """
    counts = Counts()
    indexes: dict[str, int] = {}
    seen = _Distinct()
    for piece in pieces:
        counts.num_rows += piece.num_rows
        counts.num_clips += piece.num_rows - piece["clip"].null_count
        seen.add(pc.unique(piece["video"]).to_pylist())
        _count_predictions(counts, indexes, piece.filter(pc.is_null(piece["error"])))
        _count_errors(counts, piece.filter(pc.is_valid(piece["error"])))
        _list_videos(counts, piece, max_listed)
    counts.num_videos = seen.number()
    return counts


def bin_of(scores: NDArray[Any]) -> NDArray[np.int64]:
    """Return the bin of each score: ``[0, 0.05)`` is 0, and 1 is in the last one; what is no number is in the first."""
    filled = np.nan_to_num(scores.astype(np.float64), nan=0.0, posinf=1.0, neginf=0.0)
    return np.clip((filled * NUM_BINS).astype(np.int64), 0, NUM_BINS - 1)


class _Distinct:
    """Counts distinct names by their hashes: of a billion names, about one pair has the same 64 bits by chance."""

    def __init__(self) -> None:
        self._known: NDArray[np.uint64] = np.zeros(0, np.uint64)
        self._new: list[NDArray[np.uint64]] = []
        self._num_new = 0

    def add(self, names: list[str]) -> None:
        self._new.append(hashes(names))
        self._num_new += len(names)
        if self._num_new > _MOST_HASHES:
            self.number()

    def number(self) -> int:
        self._known = np.unique(np.concatenate([self._known, *self._new]))
        self._new, self._num_new = [], 0
        return len(self._known)


def _count_predictions(counts: Counts, indexes: dict[str, int], rows: pa.Table) -> None:
    if not rows.num_rows:
        return
    counts.num_predictions += rows.num_rows
    encoded = pc.fill_null(rows["label"], "").combine_chunks().dictionary_encode()
    names = encoded.dictionary.to_pylist()
    for name in names:
        if name not in indexes:
            indexes[name] = len(counts.labels)
            counts.labels.append(name)
            counts.label_clips.append(0)
            counts.label_scores.append(0.0)
    missing = len(counts.labels) - len(counts.histogram)
    counts.histogram = np.concatenate([counts.histogram, np.zeros((missing, NUM_BINS), np.int64)])
    local = encoded.indices.to_numpy()
    scores = pc.fill_null(rows["score"], 0.0).to_numpy()
    cells = np.bincount(local * NUM_BINS + bin_of(scores), minlength=len(names) * NUM_BINS)
    sums = np.bincount(local, np.nan_to_num(scores), minlength=len(names))
    for name, row, total in zip(names, cells.reshape(len(names), NUM_BINS), sums, strict=True):
        index = indexes[name]
        counts.histogram[index] += row
        counts.label_clips[index] += int(row.sum())
        counts.label_scores[index] += float(total)


def _count_errors(counts: Counts, rows: pa.Table) -> None:
    if not rows.num_rows:
        return
    kinds = pc.fill_null(rows["error_kind"], _UNKNOWN_KIND)
    for kind, number in ((pair["values"], pair["counts"]) for pair in pc.value_counts(kinds).to_pylist()):
        known = counts.errors.setdefault(kind, ErrorCount())
        known.num_rows += number
        some = rows.filter(pc.equal(kinds, kind)).select(("video", "error"))
        names = sorted({*known.first, *pc.unique(some["video"]).to_pylist()})[:NUM_NAMED]
        messages = known.first
        new = pa.array([name for name in names if name not in messages], pa.string())
        if len(new):
            for video, message in zip(*some.filter(pc.is_in(some["video"], new)).to_pydict().values(), strict=True):
                messages.setdefault(video, message)
        known.first = {name: messages[name] for name in names}


def _list_videos(counts: Counts, piece: pa.Table, max_listed: int) -> None:
    """Keep the first videos by name: a name that was dropped once is after those that stay, so it never comes back."""
    if len(counts.listed) >= max_listed:
        piece = piece.filter(pc.less_equal(piece["video"], max(counts.listed)))
    clips = pa.table({"video": piece["video"], "clip": pc.fill_null(piece["clip"], -1)})
    largest = clips.group_by("video").aggregate([("clip", "max")]).to_pydict()
    for name, clip in zip(largest["video"], largest["clip_max"], strict=True):
        counts.listed[name] = max(clip, counts.listed.get(name, -1))
    counts.listed = {name: counts.listed[name] for name in sorted(counts.listed)[:max_listed]}

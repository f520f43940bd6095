"""What a table contains, counted: by class, by kind of error, by video.

Rows come in pieces, of which each has whole videos, and only counts are kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

COLUMNS = ("video", "clip", "start_seconds", "end_seconds", "label", "score", "error", "error_kind")
"""What is read of a table."""


@dataclass
class LabelCount:
    """A class that clips have as their best one.

    Attributes:
        num_clips: Those clips.
        num_videos: Videos that have some.
        score_sum: Sum of their scores.
    """

    num_clips: int = 0
    num_videos: int = 0
    score_sum: float = 0.0

    @property
    def score(self) -> float:
        """Mean of the scores."""
        return self.score_sum / self.num_clips


@dataclass
class ErrorCount:
    """A kind of error.

    Attributes:
        num_rows: Its rows.
        num_videos: Videos that have some.
        video: The first of them.
        message: What the first of its rows says.
    """

    num_rows: int
    num_videos: int
    video: str
    message: str


@dataclass(frozen=True)
class VideoCount:
    """A video.

    Attributes:
        video: Its name.
        clips: Its clips with a prediction.
        label: The class that most of them have, of several the first by name; None without one.
        share: Which share of them have it.
        score: Mean of their scores.
        errors: Rows with an error.
        error: What the first of these says.
    """

    video: str
    clips: int
    label: str | None
    share: float | None
    score: float | None
    errors: int
    error: str | None


@dataclass
class Overview:
    """Counts of a table.

    Attributes:
        num_videos: Videos that have rows.
        num_predictions: Rows without an error.
        labels: Each class that is some clip's best one.
        errors: Each kind of error.
    """

    num_videos: int = 0
    num_predictions: int = 0
    labels: dict[str, LabelCount] = field(default_factory=dict)
    errors: dict[str, ErrorCount] = field(default_factory=dict)

    @property
    def num_errors(self) -> int:
        """Rows with an error."""
        return sum(error.num_rows for error in self.errors.values())

    def through(self, tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
        """Count tables on their way.

        Args:
            tables: Pieces with `COLUMNS`, each with all rows of its videos.
        """
        for table in tables:
            if table.num_rows:
                self._add(table)
            yield table

    def _add(self, table: pa.Table) -> None:
        self.num_videos += pc.count_distinct(table["video"]).as_py()
        good = table.filter(table["error"].is_null())
        self.num_predictions += good.num_rows
        grouped = good.group_by(["video", "label"], use_threads=False).aggregate([("score", "count"), ("score", "sum")])
        by_label = grouped.group_by("label", use_threads=False).aggregate(
            [("score_count", "sum"), ("score_sum", "sum"), ("video", "count")]
        )
        for row in by_label.to_pylist():
            one = self.labels.setdefault(row["label"], LabelCount())
            one.num_clips += row["score_count_sum"]
            one.num_videos += row["video_count"]
            one.score_sum += row["score_sum_sum"]
        bad = table.filter(table["error"].is_valid()).select(["video", "error_kind", "error"])
        bad = bad.set_column(1, "error_kind", bad["error_kind"].cast(pa.string()))
        by_kind = bad.group_by("error_kind", use_threads=False).aggregate(
            [("video", "count"), ("video", "count_distinct"), ("video", "first"), ("error", "first")]
        )
        for row in by_kind.to_pylist():
            kind = row["error_kind"]
            if kind not in self.errors:
                self.errors[kind] = ErrorCount(0, 0, row["video_first"], row["error_first"])
            self.errors[kind].num_rows += row["video_count"]
            self.errors[kind].num_videos += row["video_count_distinct"]


def videos_of(table: pa.Table) -> Iterator[VideoCount]:
    """Yield the videos of a piece of a table, in the order of their names.

    Args:
        table: `COLUMNS`, all rows of each video.
    """
    good = table.filter(table["error"].is_null())
    votes = good.group_by(["video", "label"], use_threads=False).aggregate([("score", "count"), ("score", "mean")])
    votes = votes.sort_by([("video", "ascending"), ("score_count", "descending"), ("label", "ascending")])
    best = votes.group_by("video", use_threads=False).aggregate(
        [("label", "first"), ("score_count", "first"), ("score_mean", "first"), ("score_count", "sum")]
    )
    found: dict[str, dict[str, Any]] = {row["video"]: row for row in best.to_pylist()}
    bad = table.filter(table["error"].is_valid()).group_by("video", use_threads=False)
    errors = {row["video"]: row for row in bad.aggregate([("error", "count"), ("error", "first")]).to_pylist()}
    for video in sorted(found.keys() | errors.keys()):
        one, error = found.get(video), errors.get(video)
        num_clips = one["score_count_sum"] if one else 0
        yield VideoCount(
            video=video,
            clips=num_clips,
            label=one["label_first"] if one else None,
            share=one["score_count_first"] / num_clips if one else None,
            score=one["score_mean_first"] if one else None,
            errors=error["error_count"] if error else 0,
            error=error["error_first"] if error else None,
        )

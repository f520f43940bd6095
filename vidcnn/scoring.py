"""From batches of decoded clips to rows of the predictions table.

In goes a `ClipBatch`, out come `Piece`s: rows of one segment, possibly not all of them, since a batch holds clips of
several segments and a segment's clips fall into several batches. A `SegmentCollector` puts the pieces together.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vidcnn.batching import ClipBatch
from vidcnn.errors import VideoError
from vidcnn.planning import PlannedSegment
from vidcnn.predictions import error_rows, prediction_rows
from vidcnn.predictions.ledger import SegmentKey, VideoKey

FloatArray = npt.NDArray[np.float32]


class Scores(Protocol):
    """What a model says of N clips.

    Attributes:
        probabilities: float32 (N, K).
        embeddings: float32 (N, E), or None.
    """

    @property
    def probabilities(self) -> FloatArray:
        """Probability of each class."""

    @property
    def embeddings(self) -> FloatArray | None:
        """Input of the last layer."""


@dataclass(frozen=True, eq=False)
class Piece:
    """Rows of one segment.

    Attributes:
        segment: Which segment.
        num_rows: Rows that the whole segment has.
        rows: Some of them.
    """

    segment: SegmentKey
    num_rows: int
    rows: pa.Table


@dataclass(frozen=True, eq=False)
class RowFormat:
    """How rows are made of scores.

    Args:
        schema: Columns of the table.
        labels: Names of the K classes.
        top_k: Classes kept for each clip.
    """

    schema: pa.Schema
    labels: tuple[str, ...]
    top_k: int


def score_rows(batch: ClipBatch, scores: Scores | None, row_format: RowFormat) -> Iterator[Piece]:
    """Make the rows of a batch.

    Args:
        batch: The clips and the failures.
        scores: What the model says of the batch's clips, in their order; None where it has no clips.
        row_format: How rows are made of scores.
    """
    owners = np.array([ref.segment for ref in batch.clips], np.int64)
    clips = np.array([ref.clip for ref in batch.clips], np.int64)
    for index, planned in enumerate(batch.segments):
        mine = np.flatnonzero(owners == index)
        if len(mine):
            assert scores is not None
            yield _piece(planned, _predictions(planned, clips[mine], mine, scores, row_format))
    for ref, error in batch.failures:
        planned = batch.segments[ref.segment]
        yield _piece(planned, _failure(planned, ref.clip, error, row_format.schema))


def unreadable_video(video: VideoKey, error: VideoError, schema: pa.Schema) -> Piece:
    """Make the one row of a video that cannot be read."""
    rows = error_rows(schema, video.name, kind=error.kind, message=error.message)
    return Piece(SegmentKey(video, 0, 1), 1, rows)


def failed_segment(planned: PlannedSegment, error: VideoError, schema: pa.Schema) -> Piece:
    """Make the rows of a segment of which no clip can be had."""
    segment = planned.segment
    rows = error_rows(
        schema,
        planned.video.name,
        kind=error.kind,
        message=error.message,
        clips=segment.first_clip + np.arange(segment.num_clips),
        start_seconds=segment.start_seconds,
        end_seconds=segment.end_seconds,
    )
    return _piece(planned, rows)


class SegmentCollector:
    """Puts the pieces of segments together."""

    def __init__(self) -> None:
        self._pieces: dict[SegmentKey, list[pa.Table]] = {}

    def add(self, piece: Piece) -> pa.Table | None:
        """Take a piece, and return all rows of its segment when it is the last one."""
        if piece.num_rows == piece.rows.num_rows:
            return piece.rows
        tables = self._pieces.setdefault(piece.segment, [])
        tables.append(piece.rows)
        num_rows = sum(table.num_rows for table in tables)
        assert num_rows <= piece.num_rows, f"{piece.segment} has {num_rows} of {piece.num_rows} rows"
        if num_rows < piece.num_rows:
            return None
        return pa.concat_tables(self._pieces.pop(piece.segment))


def top_classes(probabilities: FloatArray, top_k: int) -> tuple[npt.NDArray[np.int64], FloatArray]:
    """Return the best classes, best first; of equal ones the first by index.

    Args:
        probabilities: float32 (N, K).
        top_k: How many, k; all K where there are fewer.

    Returns:
        int64 (N, k) indexes and float32 (N, k) probabilities.
    """
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :top_k]
    return order, np.take_along_axis(probabilities, order, axis=1)


def _predictions(
    planned: PlannedSegment,
    clips: npt.NDArray[np.int64],
    rows: npt.NDArray[np.int64],
    scores: Scores,
    to: RowFormat,
) -> pa.Table:
    probabilities = scores.probabilities[rows]
    top_indices, top_scores = top_classes(probabilities, to.top_k)
    embeddings = scores.embeddings
    segment = planned.segment
    return prediction_rows(
        to.schema,
        planned.video.name,
        clips=segment.first_clip + clips,
        start_seconds=segment.start_seconds[clips],
        end_seconds=segment.end_seconds[clips],
        labels=to.labels,
        top_indices=top_indices,
        top_scores=top_scores,
        probabilities=probabilities if "probabilities" in to.schema.names else None,
        embedding=embeddings[rows] if embeddings is not None and "embedding" in to.schema.names else None,
    )


def _failure(planned: PlannedSegment, clip: int, error: VideoError, schema: pa.Schema) -> pa.Table:
    segment = planned.segment
    return error_rows(
        schema,
        planned.video.name,
        kind=error.kind,
        message=error.message,
        clips=np.array([segment.first_clip + clip]),
        start_seconds=segment.start_seconds[[clip]],
        end_seconds=segment.end_seconds[[clip]],
    )


def _piece(planned: PlannedSegment, rows: pa.Table) -> Piece:
    return Piece(planned.key, planned.segment.num_clips, rows)

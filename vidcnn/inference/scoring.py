"""From batches of decoded clips to rows of the predictions table.

Takes a `ClipBatch`, returns `SegmentRows`: rows of one segment, possibly not all of them, as a batch has clips of
several segments and a segment's clips fall into several batches. `vidcnn.inference.collector` puts the pieces together.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vidcnn.errors import StorageError, VideoError
from vidcnn.models.ranking import FloatArray, top_classes
from vidcnn.predictions import error_rows, prediction_rows
from vidcnn.sources.keys import SegmentKey, VideoKey
from vidcnn.video.batching import ClipBatch
from vidcnn.video.planning import PlannedSegment


class Scores(Protocol):
    """What a model returns for N clips.

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


class Model(Protocol):
    """What scores clips: a `vidcnn.inference.classifier.Classifier`."""

    def predict(self, clips: npt.NDArray[np.uint8]) -> Scores:
        """Return the scores of clips, uint8 ``(N, T, H, W, 3)``, in their order."""


@dataclass(frozen=True, eq=False)
class SegmentRows:
    """Rows of one segment, from one attempt at decoding it.

    Attributes:
        segment: The video and the number of the segment in it.
        first_clip: Index in the video of the segment's first clip.
        num_clips: Clips, and so rows, that the whole segment has.
        attempt: Random id of the attempt; rows of two attempts are never joined.
        rows: Some of its rows.
        is_short: Whether its video is shorter than one clip.
    """

    segment: SegmentKey
    first_clip: int
    num_clips: int
    attempt: str
    rows: pa.Table
    is_short: bool = False


@dataclass(frozen=True)
class Undone:
    """What this run cannot do of a video, through no fault of the video: it is left to the next run.

    Attributes:
        video: Its key in the source.
        reason: Why, in plain words that continue the video's name.
    """

    video: VideoKey
    reason: str


News = SegmentRows | Undone
"""What becomes of a segment, or of a part of it."""


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


def score_rows(batch: ClipBatch, scores: Scores | None, row_format: RowFormat) -> Iterator[News]:
    """Make the rows of a batch, and name what there are none of yet.

    Args:
        batch: The clips and the failures.
        scores: What the model returns for the batch's clips, in their order; None where it has no clips.
        row_format: How rows are made of scores.
    """
    owners = np.array([ref.segment for ref in batch.clips], np.int64)
    clips = np.array([ref.clip for ref in batch.clips], np.int64)
    for index, planned in enumerate(batch.segments):
        mine = np.flatnonzero(owners == index)
        if len(mine):
            assert scores is not None
            yield _piece(planned, batch.attempt, _predictions(planned, clips[mine], mine, scores, row_format))
    undone = {
        batch.segments[ref.segment].video: error.message
        for ref, error in batch.failures
        if isinstance(error, StorageError)
    }
    yield from (Undone(video, reason) for video, reason in undone.items())
    for ref, error in batch.failures:
        if isinstance(error, VideoError):
            planned = batch.segments[ref.segment]
            yield _piece(planned, batch.attempt, _failure(planned, ref.clip, error, row_format.schema))


def video_without_plan(video: VideoKey, error: VideoError | StorageError, schema: pa.Schema) -> News:
    """Return the one row of a video that cannot be read; or that it cannot be read now."""
    if isinstance(error, StorageError):
        return Undone(video, error.message)
    if error.kind == "changed":
        video = replace(video, size_bytes=-1, mtime_ns=-1)  # no version that it may have later: it is done again then
    rows = error_rows(schema, video.name, kind=error.kind, message=error.message)
    return SegmentRows(SegmentKey(video, 0, 1), 0, 1, "", rows)


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


def _piece(planned: PlannedSegment, attempt: str, rows: pa.Table) -> SegmentRows:
    segment = planned.segment
    return SegmentRows(planned.key, segment.first_clip, segment.num_clips, attempt, rows, segment.is_short)

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

from vidcnn.errors import StorageError, VideoError
from vidcnn.inference.scoring import RowFormat, SegmentRows, Undone, score_rows, video_without_plan
from vidcnn.predictions import prediction_schema
from vidcnn.sampling.segments import ClipSpec, FrameTimes, Sampling, plan_segments
from vidcnn.sources.keys import VideoKey
from vidcnn.video.batching import ClipBatch, ClipRef
from vidcnn.video.planning import PlannedSegment

SCHEMA = prediction_schema(num_classes_for_probabilities=3, embedding_size=2)
FORMAT = RowFormat(SCHEMA, ("run", "jump", "fall"), top_k=2)


@dataclass(frozen=True)
class Scores:
    probabilities: npt.NDArray[np.float32]
    embeddings: npt.NDArray[np.float32] | None


def planned(name: str, num_frames: int) -> PlannedSegment:
    times = FrameTimes(np.arange(num_frames, dtype=np.int64), num_frames, Fraction(1, 10))
    (segment,) = plan_segments(times, ClipSpec(Sampling(2, stride=1)))
    return PlannedSegment(VideoKey(name, 1, 2), f"/{name}", False, "pts", segment)


def test_rows_of_a_batch_go_to_the_segments_that_its_clips_belong_to() -> None:
    a, b = planned("a.mp4", 4), planned("b.mp4", 5)
    probabilities = np.array([[0.1, 0.2, 0.7], [0.5, 0.3, 0.2], [0.3, 0.4, 0.3]], np.float32)
    scores = Scores(probabilities, np.arange(6, dtype=np.float32).reshape(3, 2))
    clips = (ClipRef(0, 1), ClipRef(1, 0), ClipRef(1, 2))
    failures = ((ClipRef(0, 0), VideoError("corrupt_frames", "damaged")),)
    pixels = np.zeros((3, 2, 4, 4, 3), np.uint8)
    pieces: list[Any] = list(score_rows(ClipBatch((a, b), clips, pixels, failures, "first"), scores, FORMAT))
    assert all(isinstance(piece, SegmentRows) and piece.attempt == "first" for piece in pieces)
    assert [(piece.segment.video.name, piece.num_clips) for piece in pieces] == [
        ("a.mp4", 2),
        ("b.mp4", 3),
        ("a.mp4", 2),
    ]
    rows = pa.concat_tables([piece.rows for piece in pieces]).to_pylist()
    assert [(row["video"], row["clip"], row["label"], row["error_kind"]) for row in rows] == [
        ("a.mp4", 1, "fall", None),
        ("b.mp4", 0, "run", None),
        ("b.mp4", 2, "jump", None),
        ("a.mp4", 0, None, "corrupt_frames"),
    ]
    assert rows[0]["top_labels"] == ["fall", "jump"]
    assert rows[0]["top_scores"] == pytest.approx([0.7, 0.2])
    assert (rows[0]["start_seconds"], rows[0]["end_seconds"]) == pytest.approx((0.2, 0.4))
    assert rows[2]["end_seconds"] == pytest.approx(0.5)
    assert rows[1]["embedding"] == [2.0, 3.0]


def test_what_the_storage_kept_back_is_left_undone_and_makes_no_row() -> None:
    a, b = planned("a.mp4", 4), planned("b.mp4", 2)
    fault = StorageError("it cannot be read: input/output error")
    failures = ((ClipRef(0, 0), fault), (ClipRef(0, 1), fault), (ClipRef(1, 0), VideoError("truncated", "cut")))
    batch = ClipBatch((a, b), (), np.empty((0, 0, 0, 0, 3), np.uint8), failures, "first")
    undone, piece = score_rows(batch, None, FORMAT)
    assert undone == Undone(a.video, "it cannot be read: input/output error")
    assert isinstance(piece, SegmentRows)
    assert (piece.segment.video, piece.attempt, piece.num_clips) == (b.video, "first", 1)
    assert piece.rows["error_kind"].to_pylist() == ["truncated"]


def test_an_unreadable_video_has_one_row_without_a_clip() -> None:
    piece = video_without_plan(VideoKey("x.mp4", 0, 0), VideoError("unreadable", "the file is empty"), SCHEMA)
    assert isinstance(piece, SegmentRows)
    (row,) = piece.rows.to_pylist()
    assert (row["video"], row["clip"], row["error"], row["error_kind"]) == (
        "x.mp4", None, "the file is empty", "unreadable",
    )  # fmt: skip
    assert (piece.segment.video, piece.segment.index, piece.segment.count) == (VideoKey("x.mp4", 0, 0), 0, 1)
    assert piece.num_clips == 1


def test_a_video_that_changed_has_a_row_of_no_version_so_that_any_version_is_done_again() -> None:
    listed = VideoKey("x.mp4", 10, 20)
    piece = video_without_plan(listed, VideoError("changed", "the file does not exist"), SCHEMA)
    assert isinstance(piece, SegmentRows)
    assert piece.segment.video == VideoKey("x.mp4", -1, -1)
    assert piece.rows["error_kind"].to_pylist() == ["changed"]


def test_a_video_that_cannot_be_read_now_has_no_row() -> None:
    key = VideoKey("x.mp4", 10, 20)
    assert video_without_plan(key, StorageError("it cannot be read"), SCHEMA) == Undone(key, "it cannot be read")

"""Stages called as Ray Data calls them: tables in, tables out, and whatever goes wrong a value in them."""

from __future__ import annotations

import os
import pickle
import resource
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.pipelines import crashing
from tests.video.decoding import WHOLE_FRAME
from tests.videos import number_of, write_video
from vidcnn.errors import InternalError, ModelError, StorageError
from vidcnn.inference.scoring import RowFormat, SegmentRows, Undone
from vidcnn.pipelines import stages
from vidcnn.pipelines.stages import CountStage, DecodeStage, PlanStage, ScoreStage, count_clips, pack_video, video_table
from vidcnn.predictions import prediction_schema
from vidcnn.sampling.segments import ClipSpec, Sampling
from vidcnn.sources import Listing, SourceVideo
from vidcnn.sources.keys import VideoKey
from vidcnn.video.batching import DecodeSettings
from vidcnn.video.cell import this_cell
from vidcnn.video.planning import PlanSettings
from vidcnn.video.stopwatch import StageTimes

PLAN = PlanSettings(ClipSpec(Sampling(4, stride=1)), image_fps=10, max_pixels=10**6, timeout_seconds=2)
DECODE = DecodeSettings(WHOLE_FRAME, exact=False, batch_size=4, max_pixels=10**6)
SCHEMA = prediction_schema(num_classes_for_probabilities=None, embedding_size=None)
OPTIONS = {"preset": "ultrafast"}


def table_of(*videos: SourceVideo, done: Any = None) -> pa.Table:
    return video_table(pack_video(video, done) for video in videos)


def write(folder: Path, *names: str, num_frames: int = 12) -> list[SourceVideo]:
    for name in names:
        write_video(folder / f"{name}.mp4", num_frames, options=OPTIONS)
    return list(Listing([str(folder)]))


def plan(videos: pa.Table, stage: type[PlanStage] = PlanStage, settings: PlanSettings = PLAN) -> tuple[Any, Any]:
    """Return the planned segments, and the news."""
    segments: list[Any] = []
    news: list[Any] = []
    for table in stage(settings, SCHEMA, max_unit_frames=30)(videos):
        for unit, told in zip(table["unit"], table["news"], strict=True):
            assert unit.is_valid != told.is_valid
            segments += pickle.loads(unit.as_py()) if unit.is_valid else []
            news += pickle.loads(told.as_py()) if told.is_valid else []
    return segments, news


def test_videos_become_segments_and_what_cannot_be_planned_is_told(tmp_path: Path) -> None:
    videos = write(tmp_path, "a", "b")
    lost = replace(videos[0], name="lost.mp4", error="cannot be read: input/output error", error_kind=None)
    bad = replace(videos[0], name="bad.mp4", error="does not exist", error_kind="unreadable")
    segments, news = plan(table_of(*videos, lost, bad))
    assert [planned.video.name for planned in segments] == ["a.mp4", "b.mp4"]
    undone, piece = sorted(news, key=lambda one: isinstance(one, SegmentRows))
    assert undone == Undone(stages.video_key(lost), "it cannot be read: input/output error")
    assert piece.rows["error_kind"].to_pylist() == ["unreadable"]


def test_what_is_done_already_is_not_planned_again(tmp_path: Path) -> None:
    (video,) = write(tmp_path, "a")
    (planned,) = plan(table_of(video))[0]
    assert plan(table_of(video, done=(planned.segment.count, frozenset({0}))))[0] == []
    assert len(plan(table_of(video, done=(planned.segment.count + 1, frozenset({0}))))[0]) == 1  # of another plan


def test_a_fault_of_the_program_is_told_and_nothing_else_of_the_block(tmp_path: Path) -> None:
    segments, (failure,) = plan(table_of(*write(tmp_path, "a", "plan_errs")), crashing.FaultyPlan)
    assert {planned.video.name for planned in segments} <= {"a.mp4"}
    assert isinstance(failure, InternalError)
    assert "unexpected TypeError while planning: an integer is required" in failure.message


def test_a_limit_of_the_machine_is_told_as_one_and_is_no_fault_of_the_program(tmp_path: Path) -> None:
    videos = table_of(*write(tmp_path, "a"))
    plan(videos)  # what is imported late is imported
    this_cell(yields=False).close()  # another child is to be started
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
    try:
        segments, (failure,) = plan(videos)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert segments == []
    assert isinstance(failure, StorageError)
    assert failure.message == "this machine is at a limit while planning: Too many open files"
    assert "ulimit -n" in failure.hint
    assert "the same command continues" in failure.hint


def test_counts_are_those_of_the_plans(tmp_path: Path) -> None:
    videos = write(tmp_path, "a", "b")
    bad = replace(videos[0], name="bad.mp4", error="does not exist", error_kind="unreadable")
    (table,) = CountStage(PLAN, SCHEMA, max_unit_frames=30)(table_of(*videos, bad))
    counts = pickle.loads(table["counts"][0].as_py())
    assert (counts.first_name, counts.num_videos, counts.num_clips) == ("a.mp4", 2, 6)
    assert counts.bad_videos == (("bad.mp4", "does not exist"),)
    assert counts.seconds == pytest.approx(2 * 12 / 30)
    assert count_clips(table_of(*videos), PLAN) == (6, sum(video.size_bytes for video in videos))


def decoded(segments: list[Any], stage: type[DecodeStage] = DecodeStage) -> list[dict[str, Any]]:
    units = stages._planned_row(pickle.dumps(segments), None, StageTimes(plan_seconds=7.0))
    return [row for table in stage(DECODE, low_priority=False)(units) for row in table.to_pylist()]


def test_batches_come_with_their_pixels_and_what_they_took(tmp_path: Path) -> None:
    segments, _ = plan(table_of(*write(tmp_path, "a", "b")))
    rows = decoded(segments)
    assert [row["news"] for row in rows] == [None, None]
    batches = [stages._load_batch(pa.scalar(row["pixels"], pa.large_binary()), pa.scalar(row["batch"])) for row in rows]
    assert [len(batch.clips) for batch in batches] == [4, 2]
    assert [number_of(frame) for batch in batches for clip in batch.pixels for frame in clip] == [*range(12)] * 2
    assert len({batch.attempt for batch in batches}) == 1
    times = [pickle.loads(row["times"]) for row in rows]
    assert all(measured.decode_seconds > 0 for measured in times)
    assert [measured.plan_seconds for measured in times] == [7.0, 0.0]
    strength = this_cell(yields=False).strength
    assert strength is not None
    assert [measured.confined for measured in times] == [((socket.gethostname(), strength),)] * 2


def test_a_fault_of_the_program_in_decoding_is_a_value(tmp_path: Path) -> None:
    segments, _ = plan(table_of(*write(tmp_path, "decode_errs")))
    (row,) = decoded(segments, crashing.FaultyDecode)
    (failure,) = pickle.loads(row["news"])
    assert isinstance(failure, InternalError)
    assert "faulty_batches" in "".join(failure.__notes__)


class Model:
    """Gives every clip the first class, or fails."""

    error: Exception | None = None

    def predict(self, pixels: Any) -> Any:
        if self.error is not None:
            raise self.error
        return type("Scores", (), {"probabilities": np.eye(3, dtype=np.float32)[[0] * len(pixels)], "embeddings": None})


@pytest.fixture
def scoring() -> Model:
    return Model()


def score_stage(model: Any) -> ScoreStage:
    return ScoreStage(lambda: model, RowFormat(SCHEMA, ("run", "jump", "fall"), 2))


def scored(segments: list[Any], model: Any) -> list[Any]:
    units = stages._planned_row(pickle.dumps(segments), None, StageTimes(plan_seconds=7.0))
    stage = score_stage(model)
    tables = [stage(table) for table in DecodeStage(DECODE, low_priority=False)(units)]
    return [one for table in tables for told in table["news"] for one in pickle.loads(told.as_py())]


def test_batches_become_rows(tmp_path: Path, scoring: Model) -> None:
    segments, _ = plan(table_of(*write(tmp_path, "a", "b")))
    news = scored(segments, scoring)
    assert sum(one.rows.num_rows for one in news) == 6
    assert {label for one in news for label in one.rows["label"].to_pylist()} == {"run"}


def test_what_goes_wrong_with_the_model_is_a_value_with_its_traceback(tmp_path: Path, scoring: Model) -> None:
    segments, _ = plan(table_of(*write(tmp_path, "a")))
    scoring.error = RuntimeError("out of memory\nand more")
    (failure,) = scored(segments, scoring)
    assert isinstance(failure, ModelError)
    assert failure.message == "the model failed: RuntimeError: out of memory"
    assert "in predict" in failure.__notes__[0]


def test_a_fault_of_the_program_in_making_rows_is_not_the_models(
    tmp_path: Path, scoring: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    def faulty(*_: Any) -> Any:
        raise TypeError("unexpected")

    monkeypatch.setattr(stages, "score_rows", faulty)
    segments, _ = plan(table_of(*write(tmp_path, "a")))
    (failure,) = scored(segments, scoring)
    assert isinstance(failure, InternalError)
    assert "making rows" in failure.message
    assert "in faulty" in "".join(failure.__notes__)


def test_news_pass_through_the_stages_as_they_are(scoring: Model) -> None:
    told = pickle.dumps([Undone(VideoKey("a.mp4", 1, 1), "it cannot be read")])
    units = stages._planned_row(None, told, StageTimes())
    (decoded_table,) = DecodeStage(DECODE, low_priority=False)(units)
    table = score_stage(scoring)(decoded_table)
    assert table["news"].to_pylist() == [told]

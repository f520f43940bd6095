"""Clips with their times, and tables that are read when they are asked for."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import vidcnn
from tests.predictions.cases import segment, write
from tests.videos import number_of
from vidcnn.errors import OutputError, SourceError, UsageError, VideoError


def numbers(clip: vidcnn.Clip) -> list[int]:
    return [number_of(frame) for frame in clip.pixels]


def test_clips_come_with_the_frames_and_times_that_were_asked_for(videos: Path) -> None:
    found = list(vidcnn.clips(videos / "1.mp4", num_frames=8, stride=2))
    assert [clip.index for clip in found] == list(range(5))
    assert numbers(found[0]) == [97 + 2 * frame for frame in range(8)]
    assert numbers(found[1]) == [97 + 16 + 2 * frame for frame in range(8)]
    assert all(clip.video == "1.mp4" for clip in found)
    starts = [clip.start_seconds for clip in found]
    assert starts == sorted(starts)
    assert starts[0] == 0.0
    assert found[0].end_seconds == pytest.approx(starts[1])


def test_clips_of_a_regular_rate_of_a_number_or_of_a_size(videos: Path) -> None:
    spread = list(vidcnn.clips(videos / "0.mp4", num_frames=4, num_clips=3, size=(32, 48)))
    assert [clip.pixels.shape for clip in spread] == [(4, 32, 48, 3)] * 3
    slow = next(iter(vidcnn.clips(videos / "0.mp4", num_frames=4, fps=1.0)))
    assert slow.end_seconds - slow.start_seconds == pytest.approx(2.0, abs=2.1)
    both = [clip.video for clip in vidcnn.clips([videos / "0.mp4", videos / "2.mp4"], num_clips=1)]
    assert sorted(both) == ["0.mp4", "2.mp4"]


def test_what_cannot_be_decoded_is_raised_or_left_out(videos: Path) -> None:
    with pytest.raises(VideoError):
        list(vidcnn.clips(videos / "bad.mp4"))
    found = {clip.video for clip in vidcnn.clips(videos, errors="skip")}
    assert found == {"0.mp4", "1.mp4", "2.mp4"}
    with pytest.raises(SourceError):
        list(vidcnn.clips(videos / "gone.mp4"))
    with pytest.raises(UsageError):
        list(vidcnn.clips(videos, stride=1, fps=2.0))


@pytest.fixture(params=["preds.parquet", "preds"])
def table(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    out = tmp_path / request.param
    write(out, [segment("a", 0, 2), segment("a", 1, 2), segment("b"), segment("bad")])
    return out


def test_a_table_is_read_by_columns_and_rows(table: Path) -> None:
    found = vidcnn.read_predictions(table)
    whole = found.to_table()
    assert len(found) == whole.num_rows == 10
    some = found.to_table(["video", "clip"], pc.field("video") == "b")
    assert some.to_pylist() == [{"video": "b", "clip": clip} for clip in range(3)]
    assert isinstance(found.to_pandas(["video"]), pd.DataFrame)
    clips = found.to_table(["video", "clip"])
    assert clips.num_rows == 10
    assert duckdb.sql("SELECT count(*) FROM clips").fetchall() == [(10,)]
    assert pl.scan_pyarrow_dataset(found.dataset).select(pl.len()).collect().item() == 10
    assert "embedding" in repr(found)


def test_errors_are_the_rows_that_have_one(table: Path) -> None:
    errors = vidcnn.read_predictions(table).errors()
    assert errors["video"].to_pylist() == ["a", "bad"]
    assert errors["error_kind"].to_pylist() == ["truncated", "unreadable"]


def test_videos_have_the_class_that_most_of_their_clips_have(tmp_path: Path) -> None:
    rows = [
        *(("a", clip, "run", 0.5, None) for clip in range(2)),
        *(("a", clip, "jump", 0.25, None) for clip in (2, 3, 4)),
        ("a", 5, None, None, "broken"),
        ("b", 0, "run", 0.5, None),
        ("b", 1, "jump", 1.0, None),
        ("c", None, None, None, "empty"),
    ]
    columns = dict(zip(("video", "clip", "label", "score", "error"), map(list, zip(*rows, strict=True)), strict=True))
    times = {name: pa.array([0.0] * len(rows)) for name in ("start_seconds", "end_seconds")}
    pq.write_table(pa.table({**columns, **times}), tmp_path / "preds.parquet")
    found = vidcnn.read_predictions(tmp_path / "preds.parquet").videos()
    assert found.to_pylist() == [
        {"video": "a", "clips": 5, "label": "jump", "share": 0.6, "score": 0.25, "errors": 1},
        {"video": "b", "clips": 2, "label": "jump", "share": 0.5, "score": 1.0, "errors": 0},
        {"video": "c", "clips": 0, "label": None, "share": None, "score": None, "errors": 1},
    ]


def test_what_is_no_table_is_an_error_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"gone\.parquet"):
        vidcnn.read_predictions(tmp_path / "gone.parquet")
    pq.write_table(pa.table({"x": [1]}), tmp_path / "other.parquet")
    with pytest.raises(OutputError, match="no column video"):
        vidcnn.read_predictions(tmp_path / "other.parquet")
    (tmp_path / "text.parquet").write_text("text")
    with pytest.raises(OutputError, match=r"text\.parquet"):
        vidcnn.read_predictions(tmp_path / "text.parquet")

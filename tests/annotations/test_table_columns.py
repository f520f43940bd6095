"""Columns of tables: how they are found, and which are not used."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.annotations.data import NO_VAL, make, parquet, write
from vidcnn.annotations import SplitSettings, read_annotations
from vidcnn.errors import DataError


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("start", "end"),
        ("begin", "stop"),
        ("t0", "t1"),
        ("Start_Time", "End Time"),
        ("start (s)", "end"),
        ("from", "to"),
    ],
)
def test_columns_that_look_like_those_of_parts_are_not_left_out_in_silence(
    tmp_path: Path, start: str, end: str
) -> None:
    make(tmp_path, "a.mp4")
    data = write(tmp_path / "t.csv", f"path,label,{start},{end}", "a.mp4,x,0,2", "a.mp4,y,2,4")
    with pytest.raises(DataError, match=f"has (a column|columns) .*'{end.lower().replace(' ', '_')}'") as caught:
        read_annotations(data)
    assert "t.csv" in caught.value.message
    assert f"rename '{end.lower().replace(' ', '_')}' to 'end_seconds'" in caught.value.hint


@pytest.mark.parametrize(
    ("column", "hint"),
    [
        ("subset", "rename 'subset' to 'split'"),
        ("end", "rename 'end' to 'end_seconds'"),
        ("start_frame", "give the times of 'start_frame' in seconds, in a column 'start_seconds'"),
    ],
)
def test_a_parquet_table_is_looked_at_in_the_same_way(tmp_path: Path, column: str, hint: str) -> None:
    make(tmp_path, "a.mp4")
    data = parquet(tmp_path / "t.parquet", **{"path": ["a.mp4"], "label": ["x"], column: ["1"]})
    with pytest.raises(DataError, match=f"'{column}', which would not be used") as caught:
        read_annotations(data)
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    "heading",
    [
        "Path,Label,Start Seconds,END_SECONDS",
        "\ufeffpath , label,start-seconds,end.seconds",
        "video;label;start seconds;end_seconds",
    ],
)
def test_headings_are_the_same_in_any_case_with_blanks_and_after_a_byte_order_mark(
    tmp_path: Path, heading: str
) -> None:
    make(tmp_path, "a.mp4")
    delimiter = ";" if ";" in heading else ","
    data = write(
        tmp_path / "t.csv", heading, delimiter.join(("a.mp4", "x", "0", "2")), delimiter.join(("a.mp4", "y", "2", "4"))
    )
    found = read_annotations(data, splits=NO_VAL).splits["train"]
    assert [(sample.start_seconds, sample.end_seconds) for sample in found] == [(0, 2), (2, 4)]


def test_other_columns_that_are_not_used_are_named_once(tmp_path: Path) -> None:
    make(tmp_path, "a.mp4", "b.mp4")
    data = write(tmp_path / "t.csv", ",path,label,Camera Id,fold,note", "0,a.mp4,x,1,0,n", "1,b.mp4,y,2,1,n")
    found = read_annotations(data, splits=SplitSettings(0, split_by="camera ID"))
    assert found.notices == (f"columns of '{data}' that are not used: fold, note",)
    assert [sample.group for sample in found.splits["train"]] == ["1", "2"]


def test_a_column_that_the_user_names_is_used_and_not_suspected(tmp_path: Path) -> None:
    make(tmp_path, "a.mp4", "b.mp4", "c.mp4", "d.mp4")
    rows = ["a.mp4,x,in", "b.mp4,y,in", "c.mp4,x,out", "d.mp4,y,out"]
    data = write(tmp_path / "t.csv", "path,label,subset", *rows)
    found = read_annotations(data, splits=SplitSettings(val_where=("subset=out",)))
    assert [sample.video.name for sample in found.splits["val"]] == ["c.mp4", "d.mp4"]
    assert found.notices == ()


def test_the_times_of_a_film_that_a_clip_was_cut_from_are_not_those_of_its_part(tmp_path: Path) -> None:
    make(tmp_path, "a.mp4", "b.mp4")
    heading = "path,label,youtube_id,time_start,time_end"
    data = write(tmp_path / "t.csv", heading, "a.mp4,x,ab,5,15", "b.mp4,y,cd,7,17")
    found = read_annotations(data, splits=NO_VAL)
    assert [sample.start_seconds for sample in found.splits["train"]] == [None, None]
    assert "not used: youtube_id, time_start, time_end" in found.notices[0]


def test_rows_that_say_the_same_and_parts_that_overlap_with_other_labels_are_told_of(tmp_path: Path) -> None:
    make(tmp_path, "a.mp4", "b.mp4")
    heading = "path,label,start_seconds,end_seconds"
    data = write(tmp_path / "t.csv", heading, "a.mp4,x,0,4", "a.mp4,x,0,4", "a.mp4,y,2,6", "b.mp4,y,,", "b.mp4,y,1,2")
    found = read_annotations(data, splits=NO_VAL)
    assert len(found.splits["train"]) == 4
    assert found.notices == (
        "1 sample is there already, with the same label, and counts once",
        "1 sample overlaps in time with one of another label, and both count: a.mp4 (line 2) and a.mp4 (line 4)",
    )

"""What is wrong with the rows of a table, told all at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.annotations.data import NO_VAL, make, problems_of, write
from vidcnn.annotations import SplitSettings, read_annotations
from vidcnn.errors import DataError


def test_all_that_is_wrong_with_rows_is_told_at_once(tmp_path: Path) -> None:
    make(tmp_path, "a.mp4", "b.mp4", "c d.mp4", "folder/x.mp4")
    rows = [
        "a.mp4,x,,,cam1",
        "b.mp4,y,,,cam1",
        *(f"gone{number}.mp4,x,,,cam1" for number in range(7)),
        "folder,x,,,cam1",
        ",x,,,cam1",
        "c d.mp4,|,,,cam1",
        "c d.mp4,x,3,3,cam1",
        "c d.mp4,x,-1,3,cam1",
        "c d.mp4,x,1,soon,cam1",
        "c d.mp4,x,1,2,cam1,more",
        "c d.mp4,x,9,10",
    ]
    data = write(tmp_path / "t.csv", "path,label,start_seconds,end_seconds,camera", *rows)
    assert problems_of(data, SplitSettings(split_by="camera", val_fraction=0)) == [
        f"15 problems in '{data}'",
        "1 row has no path",
        "line 12",
        "3 intervals are impossible",
        "line 14: c d.mp4 [3, 3)",
        "line 15: c d.mp4 [-1, 3)",
        "line 16: c d.mp4 [1, soon)",
        "1 row has more cells than the heading",
        "line 17",
        "1 row has no value to split by",
        "line 18: c d.mp4",
        "7 files do not exist",
        *(f"line {number + 4}: gone{number}.mp4" for number in range(5)),
        "and 2 more",
        "1 file cannot be read",
        "line 11: folder is a folder, but not of one sequence of numbered images",
        "1 row has no label",
        "line 13: c d.mp4",
    ]


def test_splits_that_leave_something_open_are_problems(tmp_path: Path) -> None:
    make(tmp_path, *(f"{name}.mp4" for name in "abcd"))
    lines = ["a.mp4,x,train", "b.mp4,y,train", "c.mp4,x,", "d.mp4,z,val", "d.mp4,z,later"]
    data = write(tmp_path / "t.csv", "path,label,split", *lines)
    assert problems_of(data)[1:] == [
        "1 row has an unknown split",
        "line 6: d.mp4 (later)",
        "1 row has no split, others have",
        "line 4",
        "1 sample is in two splits",
        "d.mp4 (val, line 5) and d.mp4 (train, line 6)",
    ]
    write(tmp_path / "t.csv", "path,label,split", *lines[:2], "d.mp4,z,val")
    assert problems_of(data)[1:] == ["1 class to be validated or tested without a training sample", "z (val: 1)"]
    write(tmp_path / "t.csv", "path,label,split", "a.mp4,x,val", "b.mp4,y,test")
    assert problems_of(data)[1:] == ["1 split is empty: train"]


def test_one_sample_with_two_labels_is_a_problem_and_a_repeated_row_is_none(tmp_path: Path) -> None:
    make(tmp_path, "a.mp4", "b.mp4")
    (tmp_path / "alias.mp4").symlink_to("a.mp4")
    data = write(tmp_path / "t.csv", "path,label", "a.mp4,x", "b.mp4,y", "a.mp4,x", "./a.mp4,x", "alias.mp4,x")
    assert read_annotations(data, splits=NO_VAL).counts("train") == (1, 1)
    write(tmp_path / "t.csv", "path,label", "a.mp4,x", "b.mp4,y", "alias.mp4,y")
    assert problems_of(data)[1:] == [
        "1 sample is there twice, with different labels",
        "a.mp4 (line 2) and alias.mp4 (line 4)",
    ]


@pytest.mark.parametrize(
    ("intervals", "leaks"),
    [
        (["0,5,train", "5,9,val"], 0),
        (["0,5,train", "4.9,9,val"], 1),
        ([",,train", "4,5,val", "6,7,test"], 2),
        (["0,9,train", "1,2,train", "3,4,val"], 1),
        (["0,9,train", "1,8,val", "2,3,train", "8.5,9,val"], 3),
        (["0,2,train", "2,4,val", "4,6,train"], 0),
        (["0,9,train", "1,10,val", "2,3,val"], 2),
    ],
)
def test_parts_of_a_file_in_two_splits_may_not_overlap(tmp_path: Path, intervals: list[str], leaks: int) -> None:
    make(tmp_path, "a.mp4", "b.mp4")
    heading = "path,label,start_seconds,end_seconds,split"
    data = write(tmp_path / "t.csv", heading, "b.mp4,y,,,train", *(f"a.mp4,x,{interval}" for interval in intervals))
    if leaks:
        assert problems_of(data)[0].startswith(f"{leaks} problem")
    else:
        read_annotations(data)


def test_a_group_that_straddles_given_splits_is_a_problem(tmp_path: Path) -> None:
    make(tmp_path, "a.mp4", "b.mp4", "c.mp4")
    data = write(tmp_path / "t.csv", "path,label,split,scene", "a.mp4,x,train,1", "b.mp4,y,train,2", "c.mp4,y,val,1")
    assert read_annotations(data).counts("val") == (0, 1)
    assert problems_of(data, SplitSettings(split_by="scene"))[1:] == ["1 group is in several splits", "1: train, val"]


def test_overlapping_samples_of_two_groups_cannot_be_kept_apart(tmp_path: Path) -> None:
    make(tmp_path, "a.mp4", "b.mp4")
    lines = ["a.mp4,x,0,5,one", "a.mp4,x,4,9,two", "b.mp4,y,0,5,one", "b.mp4,y,5,9,two"]
    data = write(tmp_path / "t.csv", "path,label,start_seconds,end_seconds,scene", *lines)
    assert problems_of(data, SplitSettings(split_by="scene"))[1:3] == [
        "1 sample is in two groups",
        "a.mp4 (one) and a.mp4 (two)",
    ]


@pytest.mark.parametrize(
    ("lines", "message", "hint"),
    [
        (["path,class", "a.mp4,x"], "has no column 'label' of classes", "rename 'class' to 'label'"),
        (["path,name", "a.mp4,x"], "has no column 'label' of classes", "its columns are path, name"),
        (["label,youtube_id,split", "x,y,train"], "has no column 'time_start'", "label, youtube_id, split"),
        (["file,class", "a.mp4,x"], "has no column 'path'", "rename 'file' to 'path'; rename 'class' to 'label'"),
        (["file,kind", "a.mp4,x"], "neither a table .* first line is 'file,kind'", "heading path,label"),
        (["path,label,label", "a.mp4,x,y"], "has the column 'label' twice", "take one of them out"),
        (["path,label"], "has no rows", "one video a row"),
        ([], "has no rows", "one video a row"),
        (["path,label", '"a.mp4,x'], "cannot be read: unexpected end of data", "UTF-8"),
        (["path,label", "a\0.mp4,x"], "not text in UTF-8", "UTF-8"),
    ],
)
def test_a_file_that_is_no_table_is_an_error(tmp_path: Path, lines: list[str], message: str, hint: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read_annotations(write(tmp_path / "t.csv", *lines))
    assert hint in caught.value.hint
    assert "\n" not in caught.value.message


def test_a_column_to_split_by_has_to_be_there(tmp_path: Path) -> None:
    data = write(tmp_path / "t.csv", "path,label", "a.mp4,x")
    with pytest.raises(DataError, match="no column 'scene' to split by"):
        read_annotations(data, splits=SplitSettings(split_by="scene"))
    with pytest.raises(DataError, match="no column 'fold' to choose validation by"):
        read_annotations(data, splits=SplitSettings(val_where=("fold=1",)))


def test_a_damaged_parquet_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"t\.parquet' cannot be read"):
        read_annotations(write(tmp_path / "t.parquet", "path,label"))


def test_names_that_would_break_lines_are_shown_on_one(tmp_path: Path) -> None:
    data = write(tmp_path / "t.csv", "path,label", '"a\nb.mp4",x', "c.mp4,y")
    assert problems_of(data)[2:] == [r"line 3: a\x0ab.mp4", "line 4: c.mp4"]

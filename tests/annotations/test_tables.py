from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.annotations.data import NO_VAL, each, make, problems_of, write, written
from vidcnn.annotations import SplitSettings, read_annotations
from vidcnn.errors import DataError


def parquet(file: Path, /, **columns: list[Any]) -> str:
    pq.write_table(pa.table(columns), file)
    return str(file)


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("t.csv", ["path,label", "a.mp4, y ", '"b, c.mp4",x', "", "a.mp4,y"]),
        ("t.csv", ["Label;VIDEO", "y;a.mp4", "x;b, c.mp4"]),
        ("t.tsv", ["n\tpath\tlabel", "1\ta.mp4\ty", "2\tb, c.mp4\tx"]),
        ("t.txt", ["# comment", "path\tlabel", "a.mp4\ty", "# more", "b, c.mp4\tx"]),
    ],
)
def test_a_table_is_text_with_a_heading(tmp_path: Path, name: str, lines: list[str]) -> None:
    make(tmp_path, "a.mp4", "b, c.mp4")
    found = read_annotations(write(tmp_path / name, *lines), splits=NO_VAL)
    assert (found.labels, written(found)) == (("x", "y"), {"train": [("a.mp4", ("y",)), ("b, c.mp4", ("x",))]})


def test_a_table_may_be_parquet_with_numbers_as_labels(tmp_path: Path) -> None:
    make(tmp_path, "a.mp4", "b.mp4", "c.mp4")
    data = parquet(
        tmp_path / "t.parquet", other=[b"", b"", b""], path=["a.mp4", "b.mp4", "c.mp4"], label=[10.0, 9.0, 9]
    )
    found = read_annotations(data, splits=NO_VAL)
    assert found.labels == ("9", "10")
    assert found.counts("train") == (2, 1)


def test_paths_are_relative_to_the_table_or_to_the_root_or_absolute_or_uris(tmp_path: Path) -> None:
    make(tmp_path, "v/a.mp4", "t/a.mp4", "abs.mp4", "u r i.mp4")
    lines = ["path,label", "a.mp4,x", f"{tmp_path}/abs.mp4,y", f"file://{tmp_path}/u%20r%20i.mp4,y"]
    data = write(tmp_path / "t/t.csv", *lines)
    outside = each([f"{tmp_path}/abs.mp4", f"{tmp_path}/u r i.mp4"], "y")
    for root, folder in ((None, "t"), (str(tmp_path / "v"), "v")):
        found = read_annotations(data, root=root, splits=NO_VAL)
        assert written(found) == {"train": [*outside, ("a.mp4", ("x",))]}
        assert found.splits["train"][-1].video.location == str(tmp_path / folder / "a.mp4")


def test_intervals_of_one_file_are_samples_of_their_own_in_the_order_of_time(tmp_path: Path) -> None:
    make(tmp_path, "a.mp4")
    data = write(
        tmp_path / "t.csv", "path,label,start_seconds,end_seconds", "a.mp4,x,5.5,", "a.mp4,y,,5.5", "a.mp4,y,0,5.5"
    )
    found = read_annotations(data, splits=NO_VAL)
    assert [(s.start_seconds, s.end_seconds, s.labels) for s in found.splits["train"]] == [
        (None, 5.5, (1,)),
        (5.5, None, (0,)),
    ]


def test_gaps_in_a_parquet_table_are_empty_cells(tmp_path: Path) -> None:
    make(tmp_path, "a.mp4", "b.mp4")
    data = parquet(
        tmp_path / "t.parquet",
        path=["a.mp4", "b.mp4"],
        label=["x", "y"],
        start_seconds=[math.nan, 2.0],
        end_seconds=[None, 3],
    )
    found = read_annotations(data, splits=NO_VAL)
    assert [(s.start_seconds, s.end_seconds) for s in found.splits["train"]] == [(None, None), (2, 3)]


def test_several_labels_are_separated_by_bars_or_are_a_list(tmp_path: Path) -> None:
    make(tmp_path, "a.mp4", "b.mp4")
    text = write(tmp_path / "t.csv", "path,label", "a.mp4,y | x", "b.mp4,x")
    table = parquet(tmp_path / "t.parquet", path=["a.mp4", "b.mp4"], label=[["y", "x"], ["x"]])
    for data in (text, table):
        found = read_annotations(data, splits=NO_VAL)
        assert found.multi_label
        assert written(found) == {"train": [("a.mp4", ("x", "y")), ("b.mp4", ("x",))]}
        assert found.counts("train") == (2, 1)
    one_each = parquet(tmp_path / "t.parquet", path=["a.mp4", "b.mp4"], label=[["y"], ["x"]])
    assert read_annotations(one_each, splits=NO_VAL).multi_label


def test_the_column_split_gives_the_splits(tmp_path: Path) -> None:
    make(tmp_path, *(f"{name}.mp4" for name in "abcd"))
    lines = ["a.mp4,x,train", "b.mp4,y,TRAIN", "c.mp4,x,validate", "d.mp4,y,test"]
    found = read_annotations(write(tmp_path / "t.csv", "path,label,split", *lines))
    assert written(found) == {
        "train": [("a.mp4", ("x",)), ("b.mp4", ("y",))],
        "val": [("c.mp4", ("x",))],
        "test": [("d.mp4", ("y",))],
    }


def test_conditions_choose_the_validation_rows_and_leave_test_rows(tmp_path: Path) -> None:
    make(tmp_path, *(f"{name}.mp4" for name in "abcdef"))
    rows = zip("abcdef", "xyxyxy", "001122", ["val", "", "train", "", "", "test"], strict=True)
    data = write(tmp_path / "t.csv", "path,label,Fold,split", *(f"{a}.mp4,{b},{c},{d}" for a, b, c, d in rows))

    def val(*conditions: str) -> str:
        found = read_annotations(data, splits=SplitSettings(val_where=conditions))
        assert [sample.video.name for sample in found.splits["test"]] == ["f.mp4"]
        return "".join(sample.video.name[0] for sample in found.splits["val"])

    assert val("fold=1") == "cd"
    assert val("fold=0,2", "label=x") == "ae"
    assert problems_of(data, SplitSettings(val_where=("fold=9",)))[1:] == [
        "1 condition for validation that no row meets",
        "fold=9",
    ]


def test_a_labels_file_takes_names_or_indexes(tmp_path: Path) -> None:
    make(tmp_path, "a.mp4", "b.mp4")
    labels = write(tmp_path / "labels.txt", "y", "x")
    for cells in (("x", "y"), ("1", "0"), ("x", "0")):
        data = write(tmp_path / "t.csv", "path,label", f"a.mp4,{cells[0]}", f"b.mp4,{cells[1]}")
        found = read_annotations(data, labels=labels, splits=NO_VAL)
        assert found.labels == ("y", "x")
        assert written(found) == {"train": [("a.mp4", ("x",)), ("b.mp4", ("y",))]}


def test_a_number_is_never_an_index_where_names_are_numbers(tmp_path: Path) -> None:
    make(tmp_path, "a.mp4", "b.mp4", "c.mp4")
    data = write(tmp_path / "t.csv", "path,label", "a.mp4,1", "b.mp4,2", "c.mp4,0")
    problems = problems_of(data, labels=write(tmp_path / "labels.txt", "1", "2"))
    assert problems[1:] == ["1 row has a label that is not in the labels file", "line 4: c.mp4 (0)"]


def test_kinetics_files_are_found_flat_or_in_folders_of_their_label(tmp_path: Path) -> None:
    heading = "label,youtube_id,time_start,time_end,split"
    make(
        tmp_path,
        "k/-abc_000001_000011.mp4",
        "k/riding a bike/def_000012_000022.mkv",
        "k/train/riding_a_bike/ghi_000100_000110.mp4",
        "k/zz/ghi_000100_000110.mp4",
        "k/aa/ghi_000100_000110.mp4",
        "k/riding a bike/unlisted_000100_000110.mp4",
    )
    lines = ["yoga,-abc,1,11,train", "riding a bike,def,12,22,validate", "riding a bike,ghi,100.0,110.0,train"]
    data = write(tmp_path / "t.csv", heading, *lines)
    found = read_annotations(data, root=str(tmp_path / "k"))
    assert written(found) == {
        "train": [
            ("-abc_000001_000011.mp4", ("yoga",)),
            ("train/riding_a_bike/ghi_000100_000110.mp4", ("riding a bike",)),
        ],
        "val": [("riding a bike/def_000012_000022.mkv", ("riding a bike",))],
    }
    assert found.splits["val"][0].start_seconds is None
    write(tmp_path / "t.csv", heading, *lines, "yoga,gone,1,2,train", "yoga,odd,soon,2,train")
    assert problems_of(data, root=str(tmp_path / "k")) == [
        f"2 problems in '{data}'",
        "1 row without times in seconds",
        "line 6: odd",
        "1 file does not exist",
        "line 5: gone_000001_000002",
    ]


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

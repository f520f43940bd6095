"""Tables of labelled videos: how their rows are read."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from tests.annotations.data import NO_VAL, each, make, parquet, problems_of, write, written
from vidcnn.annotations import SplitSettings, read_annotations


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

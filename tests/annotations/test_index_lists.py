from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.annotations.data import NO_VAL, make, problems_of, write, written
from tests.limits import within
from vidcnn.annotations import SplitSettings, read_annotations
from vidcnn.annotations.index_lists import index_rows, is_index_line
from vidcnn.annotations.problems import Problems
from vidcnn.annotations.rows import ListFile
from vidcnn.errors import DataError
from vidcnn.safe_text import BLANKS


@pytest.mark.parametrize("separator", [" ", "\t", ",", ", ", "  "])
def test_a_line_is_a_path_and_an_index(tmp_path: Path, separator: str) -> None:
    make(tmp_path, "a b.mp4", "c,1.mp4", "d.mp4")
    lines = [f"{path}{separator}{index}" for path, index in [("a b.mp4", 10), ("c,1.mp4", 9), ("d.mp4", 9)]]
    found = read_annotations(write(tmp_path / "l.csv", *lines), splits=NO_VAL)
    assert (found.labels, found.multi_label) == (("9", "10"), False)
    assert written(found) == {"train": [("a b.mp4", ("10",)), ("c,1.mp4", ("9",)), ("d.mp4", ("9",))]}


def test_a_tab_ends_a_path_that_itself_ends_in_a_number(tmp_path: Path) -> None:
    make(tmp_path, "clip 3/1.jpg", "clip 3/2.jpg", '4 "x"/1.jpg', '4 "x"/2.jpg')
    found = read_annotations(write(tmp_path / "l.txt", "clip 3\t5", '"4 ""x""", 6', ""), splits=NO_VAL)
    assert written(found) == {"train": [('4 "x"', ("6",)), ("clip 3", ("5",))]}


def test_numbers_after_a_file_are_classes_and_the_first_after_a_folder_counts_its_images(tmp_path: Path) -> None:
    make(tmp_path, "a.mp4", "noextension", "f/1.jpg", "f/2.jpg", "g/1.jpg", "g/2.jpg", "h/1.jpg", "h/2.jpg")
    single = read_annotations(write(tmp_path / "l.txt", "f 2 1", "g 0"), splits=NO_VAL)
    assert (written(single), single.multi_label) == ({"train": [("f", ("1",)), ("g", ("0",))]}, False)
    several = read_annotations(write(tmp_path / "l.txt", "f 2 1 4", "a.mp4 1 4 7", "noextension 4 7"), splits=NO_VAL)
    assert several.multi_label
    assert written(several) == {"train": [("a.mp4", ("1", "4", "7")), ("f", ("1", "4")), ("noextension", ("4", "7"))]}


def test_a_labels_file_names_the_indexes(tmp_path: Path) -> None:
    make(tmp_path, "a.mp4", "b.mp4", "c.mp4")
    labels = write(tmp_path / "labels.json", '["jump", "run"]')
    data = write(tmp_path / "l.txt", "a.mp4 1", "b.mp4 0")
    found = read_annotations(data, labels=labels, splits=NO_VAL)
    assert (found.labels, written(found)["train"]) == (("jump", "run"), [("a.mp4", ("run",)), ("b.mp4", ("jump",))])
    write(tmp_path / "l.txt", "a.mp4 1", "b.mp4 0", "c.mp4 2")
    assert problems_of(data, labels=labels)[1:] == ["1 row has an index beyond the labels file", "line 3: c.mp4 (2)"]


def test_indexes_are_never_names_of_the_labels_file(tmp_path: Path) -> None:
    make(tmp_path, "a.mp4", "b.mp4")
    labels = write(tmp_path / "labels.txt", "1", "0")
    found = read_annotations(write(tmp_path / "l.txt", "a.mp4 1", "b.mp4 0"), labels=labels, splits=NO_VAL)
    assert written(found) == {"train": [("a.mp4", ("0",)), ("b.mp4", ("1",))]}


def test_a_folder_of_lists_gives_the_splits_in_any_of_the_formats(tmp_path: Path) -> None:
    make(tmp_path, "v/a.mp4", "v/b.mp4", "v/c.mp4", "v/d.mp4")
    write(tmp_path / "train.txt", "v/a.mp4 0", "v/b.mp4 1")
    write(tmp_path / "val.csv", "path,label", "v/c.mp4,1")
    write(tmp_path / "test.tsv", "v/d.mp4\t0")
    write(tmp_path / "notes.txt", "nothing to do with it")
    assert written(read_annotations(str(tmp_path))) == {
        "train": [("v/a.mp4", ("0",)), ("v/b.mp4", ("1",))],
        "val": [("v/c.mp4", ("1",))],
        "test": [("v/d.mp4", ("0",))],
    }
    write(tmp_path / "val.csv", "path,label,split", "v/c.mp4,1,train", "v/gone.mp4,0,val")
    assert problems_of(tmp_path)[1:] == [
        "1 row has another split than its file",
        "val.csv, line 2: v/c.mp4 (train)",
        "1 file does not exist",
        "val.csv, line 3: v/gone.mp4",
    ]
    write(tmp_path / "train.csv", "v/a.mp4 0")
    with pytest.raises(DataError, match=r"two lists of train: train\.csv and train\.txt"):
        read_annotations(str(tmp_path))


def test_a_folder_without_a_list_for_training_is_class_folders(tmp_path: Path) -> None:
    make(tmp_path, "a/1.mp4", "b/2.mp4", "test.csv")
    assert read_annotations(str(tmp_path), splits=NO_VAL).labels == ("a", "b")


def test_lines_without_an_index_are_problems(tmp_path: Path) -> None:
    make(tmp_path, "a.mp4", "b.mp4")
    data = write(tmp_path / "l.txt", "a.mp4 0", "b.mp4 1", "b.mp4 run", "b.mp4 -1", "7")
    assert problems_of(data)[1:] == [
        "3 lines do not end in a class index",
        "line 3: b.mp4 run",
        "line 4: b.mp4 -1",
        "line 5: 7",
    ]


def test_a_list_has_no_columns(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no column 'fold' to divide it by"):
        read_annotations(write(tmp_path / "l.txt", "a.mp4 0"), splits=SplitSettings(val_where=("fold=1",)))


BY_TABS = re.compile(r"(.+?)((?:[ \t\r\n]*\t[ \t\r\n]*\d+)+)")
BY_COMMAS_OR_BLANKS = re.compile(r"(.+?)((?:[ \t\r\n]*,[ \t\r\n]*\d+)+|(?: +\d+)+)")
"""What a line is, in a form that takes the third power of its length."""


@given(st.text('ab12 ,\t"\xa0٣', max_size=14))
def test_a_line_is_taken_apart_as_the_expressions_say(line: str) -> None:
    text = line.strip(BLANKS)
    expected = (BY_TABS if "\t" in text else BY_COMMAS_OR_BLANKS).fullmatch(text)
    assert is_index_line(line) == (expected is not None)
    found = list(index_rows([(1, line)], ListFile("/l.txt", "l.txt"), Problems("l.txt")))
    if expected is None:
        assert found == []
    else:
        assert found[0].labels == tuple(expected[2].replace(",", " ").split())
        assert found[0].path == expected[1] or expected[1][0] == expected[1][-1] == '"'


@pytest.mark.parametrize("line", ["a" + "\t" * 20_000 + "x", "a" + " 1" * 50_000 + "x", "a" + " ," * 50_000 + "x"])
def test_a_line_of_nothing_but_separators_takes_no_time(line: str) -> None:
    with within(20):
        assert not is_index_line(line)

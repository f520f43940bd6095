from __future__ import annotations

from pathlib import Path

import pytest

from vidcnn.annotations.classes import assign_classes, read_class_names
from vidcnn.annotations.problems import Problems
from vidcnn.annotations.rows import Row
from vidcnn.errors import DataError


def row(*labels: str, is_indexed: bool = False) -> Row:
    return Row("line 1", "a.mp4", labels, is_indexed=is_indexed)


def test_without_names_the_labels_that_occur_are_sorted_and_each_row_has_its_own() -> None:
    problems = Problems("data")
    names, indexes = assign_classes([row("run"), row("fall"), row("run", "fall")], None, problems)
    assert names == ("fall", "run")
    assert indexes == [(1,), (0,), (0, 1)]
    problems.raise_if_any()


def test_labels_that_are_all_numbers_are_sorted_as_numbers() -> None:
    assert assign_classes([row("10"), row("9"), row("100")], None, Problems("data"))[0] == ("9", "10", "100")
    assert assign_classes([row("10"), row("9"), row("a")], None, Problems("data"))[0] == ("10", "9", "a")


def test_a_label_may_be_an_index_into_given_names_unless_one_of_them_is_a_number() -> None:
    assert assign_classes([row("1"), row("run")], ("fall", "run"), Problems("data"))[1] == [(1,), (1,)]
    assert assign_classes([row("1")], ("7", "1", "0"), Problems("data"))[1] == [(1,)]


def test_labels_of_index_lists_are_indexes_even_into_names_that_are_numbers() -> None:
    assert assign_classes([row("1", is_indexed=True)], ("1", "0"), Problems("data"))[1] == [(1,)]


def test_rows_without_a_label_or_with_one_that_is_not_there_are_problems_and_have_no_class() -> None:
    problems = Problems("data")
    rows = [row(), row("walk"), row("2"), row("run")]
    assert assign_classes(rows, ("fall", "run"), problems)[1] == [(), (), (), (1,)]
    with pytest.raises(DataError) as raised:
        problems.raise_if_any()
    lines = [line.strip() for line in raised.value.message.splitlines()]
    assert lines == [
        "3 problems in 'data'",
        "1 row has no label",
        "line 1: a.mp4",
        "1 row has a label that is not in the labels file",
        "line 1: a.mp4 (walk)",
        "1 row has an index beyond the labels file",
        "line 1: a.mp4 (2)",
    ]


def test_a_labels_file_gives_the_order_and_names_each_class_once(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    path.write_text("run\nfall\n")
    assert read_class_names(str(path)) == ("run", "fall")
    path.write_text("run\nfall\nrun\n")
    with pytest.raises(DataError, match=r"labels\.txt' have 'run' twice"):
        read_class_names(str(path))


def test_labels_that_are_not_utf8_are_a_problem_of_their_own() -> None:
    problems = Problems("data.csv")
    rows = [Row("line 2", "a.mp4", ("caf\udce9",)), Row("line 3", "b.mp4", ("run",))]
    assign_classes(rows, None, problems)
    with pytest.raises(DataError, match=r"1 label is not UTF-8\n    line 2: a.mp4 \(caf\\xe9\)"):
        problems.raise_if_any()

from __future__ import annotations

import pytest

from vidcnn.annotations.problems import FEW_CLASSES, LEAK, NO_LABEL, Problems, printable
from vidcnn.errors import DataError


def test_without_a_problem_nothing_is_raised() -> None:
    Problems("data").raise_if_any()


def test_each_kind_is_counted_and_its_first_few_are_shown() -> None:
    problems = Problems("data")
    for number in range(1200):
        problems.add(NO_LABEL, f"line {number}")
    problems.add(LEAK, "a.mp4")
    with pytest.raises(DataError) as raised:
        problems.raise_if_any()
    assert raised.value.message.splitlines() == [
        "1,201 problems in 'data'",
        f"  1,200 {NO_LABEL.many}",
        *(f"    line {number}" for number in range(5)),
        "    and 1,195 more",
        f"  1 {LEAK.one}",
        "    a.mp4",
    ]


def test_how_to_put_it_right_is_said_once_for_each_kind_that_has_a_remedy() -> None:
    problems = Problems("data")
    for kind in (LEAK, LEAK, FEW_CLASSES):
        problems.add(kind, "")
    with pytest.raises(DataError) as raised:
        problems.raise_if_any()
    assert raised.value.hint == f"{LEAK.fix}; {FEW_CLASSES.fix}"


def test_a_text_of_the_data_stays_on_its_line() -> None:
    assert printable("a\nb\x1b[31m\x7f") == "a\\x0ab\\x1b[31m\\u007f"
    assert printable("größe 視頻") == "größe 視頻"

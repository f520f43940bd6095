from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidcnn.sources.columns import column_name, meant_columns, renaming_hint


@pytest.mark.parametrize(
    "text", ["Start Seconds", " start_seconds", "START-SECONDS", "\ufeffstart.seconds", "start\xa0seconds"]
)
def test_a_name_is_the_same_however_it_is_spelt(text: str) -> None:
    assert column_name(text) == "start_seconds"


@given(st.text())
def test_the_name_of_a_name_is_itself(text: str) -> None:
    assert column_name(column_name(text)) == column_name(text)


def test_columns_that_look_like_absent_ones_are_found_and_others_are_not() -> None:
    names = ["video_path", "category", "start", "end", "camera"]
    assert meant_columns(names, ["path", "label", "end_seconds"]) == {
        "video_path": "path", "category": "label", "end": "end_seconds",
    }  # fmt: skip


def test_a_hint_says_what_to_rename_and_what_to_convert() -> None:
    meant = meant_columns(["class", "category", "start_frame", "end"], ["label", "start_seconds", "end_seconds"])
    assert renaming_hint(meant) == (
        "rename 'class' or 'category' to 'label'; give the times of 'start_frame' in seconds, in a column "
        "'start_seconds'; rename 'end' to 'end_seconds'"
    )

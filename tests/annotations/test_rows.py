from __future__ import annotations

import pytest

from vidcnn.annotations.labelled import SPLITS
from vidcnn.annotations.rows import ListFile, Row, split_named


@pytest.mark.parametrize(
    ("name", "split"),
    [("train", "train"), ("Training", "train"), ("VAL", "val"), ("dev", "val"), ("Testing", "test"), ("tests", None)],
)
def test_splits_are_known_in_their_usual_spellings(name: str, split: str | None) -> None:
    assert split_named(name) == split


@pytest.mark.parametrize("split", SPLITS)
def test_each_split_is_known_by_its_own_name(split: str) -> None:
    assert split_named(split) == split


@pytest.mark.parametrize(
    ("location", "kind"),
    [("/data.d/a.CSV", "csv"), ("s3://b/x/a.parquet?region=eu.x", "parquet"), ("/data.d/list", "")],
)
def test_a_file_is_of_the_kind_that_its_own_name_says(location: str, kind: str) -> None:
    assert ListFile(location, "shown").kind == kind


def test_a_row_is_named_by_its_place_and_path() -> None:
    assert Row("line 3", "a.mp4", ("x",)).where == "line 3: a.mp4"
    assert Row("", "x/a.mp4", ("x",)).where == "x/a.mp4"

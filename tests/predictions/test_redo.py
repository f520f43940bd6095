from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.predictions.cases import SCHEMA, SETTINGS, rows_of, segment, video
from vidcnn.predictions.ledger import Entry, entry_of
from vidcnn.predictions.output import Output
from vidcnn.predictions.redo import Redo, videos_with_errors


def entry(index: int, count: int, version: int = 0) -> tuple[Entry, pa.Table]:
    key = segment("a", index, count, version)
    rows = rows_of(key)
    return entry_of(key, rows.num_rows), rows


def test_a_video_waits_until_it_is_whole() -> None:
    redo = Redo()
    redo.begin(["a"])
    assert redo.add("a", *entry(1, 3)) == (True, None)
    assert redo.add("a", *entry(1, 3)) == (False, None)
    assert redo.add("a", *entry(0, 3)) == (True, None)
    is_new, whole = redo.add("a", *entry(2, 3))
    assert is_new
    assert whole is not None
    assert (whole[0].is_complete, whole[1].num_rows) == (True, whole[0].num_rows)
    assert "a" in redo
    redo.end(["a"])
    assert "a" not in redo


def test_another_version_takes_the_place_of_what_waits() -> None:
    redo = Redo()
    redo.add("a", *entry(0, 2, version=1))
    assert redo.add("a", *entry(1, 2, version=2)) == (True, None)
    is_new, whole = redo.add("a", *entry(0, 2, version=2))
    assert is_new
    assert whole is not None
    assert whole[0].is_of(video("a", 2))


@pytest.mark.parametrize(
    ("kinds", "names"),
    [(None, {"bad", "odd"}), ({"unreadable"}, {"bad"}), ({"timeout"}, set()), ({"unreadable", "timeout"}, {"bad"})],
)
def test_videos_with_errors_are_found_by_kind(kinds: set[str] | None, names: set[str], tmp_path: Path) -> None:
    with Output.open(str(tmp_path / "preds"), schema=SCHEMA, settings=SETTINGS) as output:
        for key in (segment("bad"), segment("good"), segment("odd", 0, 2), segment("odd", 1, 2)):
            output.add(key, rows_of(key))
        output.commit()
    (part,) = (tmp_path / "preds").glob("part-*.parquet")
    opener: Callable[[str], Any] = pa.OSFile
    assert videos_with_errors(opener, str(part), kinds) == names

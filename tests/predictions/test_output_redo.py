"""Errors that are done again."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow as pa

from tests.predictions import cases
from tests.predictions.cases import open_output, rows_of, segment, video, visible_rows, write
from vidcnn.sources.keys import SegmentKey

ODD = [segment("long", index, 3) for index in range(3)]  # of which the second has an error row
ERRORS = [segment("bad-0"), segment("a"), segment("b"), *ODD]


def test_videos_with_errors_of_some_kinds_count_as_not_done_until_they_are_whole_again(out: Path) -> None:
    write(out, ERRORS)
    before = visible_rows(out)
    with open_output(out) as output:
        assert output.redo_errors(["timeout"]) == 0
        assert output.redo_errors(["timeout", "unreadable"]) == 1
        assert [output.is_done(key.video) for key in ERRORS] == [False, *[True] * 5]
        assert output.redo_errors() == 2
        assert not output.is_done(video("long"))
        assert output.partly_done(video("long")) is None
        assert output.done_segments(video("long"), 3) == set()
        for key in ODD[:2]:
            assert output.add(key, rows_of(key))
            output.commit()
            output.publish()
            assert visible_rows(out) == before, "old rows stay until the new ones are whole"
        assert not output.add(ODD[0], rows_of(ODD[0])), "taken already"
    with open_output(out) as output:
        assert output.is_done(video("long")), "what was begun is forgotten, and the old rows are there"
    assert visible_rows(out) == before


def good(key: SegmentKey) -> pa.Table:
    """The rows that a segment would have without its errors."""
    return rows_of(SegmentKey(key.video, 0, 1)) if key.index == 0 else rows_of(key).slice(0, 2)


def test_new_rows_take_the_place_of_errors(out: Path) -> None:
    write(out, ERRORS)
    with open_output(out) as output:
        output.redo_errors()
        for key in ODD:
            assert output.add(key, good(key))
        output.commit()
        assert output.is_done(video("long"))
        assert not output.is_done(video("bad-0"))
        assert not output.add(ODD[1], good(ODD[1])), "committed again already"
        summary = output.summary()
    with open_output(out) as output:  # a run that was interrupted before it published continues
        assert output.is_done(video("long"))
        assert output.summary() == summary
        output.publish()
        assert output.summary() == summary
    rows = [row for row in visible_rows(out) if row["video"] == "long"]
    assert cases.in_order(rows) == cases.in_order(row for key in ODD for row in good(key).to_pylist())
    assert len(visible_rows(out)) == 1 + 3 + 3 + len(rows)
    assert summary.num_errors == {"unreadable": 1}
    assert summary.num_videos == 4


def test_rows_are_in_order_within_each_commit(tmp_path: Path) -> None:
    keys = [segment("b", 1, 2), segment("a"), segment("bad"), segment("b", 0, 2)]
    write(tmp_path / "preds", keys)
    assert visible_rows(tmp_path / "preds") == cases.expected_rows(keys)


def test_videos_that_two_part_files_both_hold_are_done_again(tmp_path: Path) -> None:
    write(tmp_path / "one" / "preds", [segment("a"), segment("b")])
    write(tmp_path / "two" / "preds", [segment("a", version=1), segment("c")])
    (part,) = (tmp_path / "two" / "preds").iterdir()
    shutil.copy(part, tmp_path / "one" / "preds")
    out = tmp_path / "one" / "preds"
    with open_output(out, settings=None) as output:
        assert not output.is_done(video("a")), "though nothing may be written yet"
    with open_output(out) as output:
        assert not output.is_done(video("a"))
        assert not output.is_done(video("a", version=1))
        assert output.is_done(video("b"))
        assert output.is_done(video("c"))
    assert cases.in_order(visible_rows(out)) == cases.expected_rows([segment("b"), segment("c")])

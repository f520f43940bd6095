from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from tests.predictions.cases import MODES, SCHEMA, SETTINGS, expected_rows, open_output, rows_of, segment, visible_rows
from vidcnn.predictions.derived import ERROR_COLUMNS, DerivedOutput, error_digests, with_other_errors
from vidcnn.predictions.output_storage import open_storage
from vidcnn.predictions.rows import error_rows
from vidcnn.predictions.table import Table
from vidcnn.sources.keys import SegmentKey


def write(out: Path, keys: list[SegmentKey]) -> None:
    with open_output(out) as output:
        for key in keys:
            output.add(key, rows_of(key))
        output.publish()


def copy(source: Path, out: Path, changed: set[str] | None = None) -> list[str]:
    """Copy a table into another one, and return the videos that this took."""
    with (
        Table.open(str(source)) as table,
        DerivedOutput.in_storage(open_storage(str(out)), schema=SCHEMA, settings=SETTINGS) as output,
    ):
        todo = list(output.undone(table.entries(), changed or set()))
        for merged in todo:
            rows = pa.concat_tables(table.rows([merged])).cast(SCHEMA)
            output.add_videos({merged.video: merged.entry._replace(files=())}, rows)
            output.commit()
        output.publish()
        return [merged.video for merged in todo]


@pytest.mark.parametrize("mode", MODES)
def test_a_copy_has_the_accounting_of_its_source_and_follows_it(tmp_path: Path, mode: str) -> None:
    source, out = tmp_path / f"source{mode}", tmp_path / mode
    first = [segment("b.mp4", 0, 2), segment("a.mp4"), segment("bad.mp4"), segment("d.mp4", 0, 2)]
    write(source, first)
    assert copy(source, out) == ["a.mp4", "b.mp4", "bad.mp4", "d.mp4"]
    assert sorted(visible_rows(out), key=str) == sorted(expected_rows(first), key=str)
    assert copy(source, out) == []

    more = [segment("b.mp4", 1, 2), segment("a.mp4", version=1), segment("c.mp4")]
    write(source, more)
    assert copy(source, out) == ["a.mp4", "b.mp4", "c.mp4"]
    kept = [key for key in first if key.video.name != "a.mp4"]
    assert sorted(visible_rows(out), key=str) == sorted(expected_rows([*kept, *more]), key=str)
    with Table.open(str(out)) as copied, Table.open(str(source)) as table:
        assert [(video, entry[:5]) for video, entry in copied.entries()] == [
            (video, entry[:5]) for video, entry in table.entries()
        ]
    assert copy(source, out) == []
    assert copy(source, out, {"bad.mp4"}) == ["bad.mp4"]
    assert sorted(visible_rows(out), key=str) == sorted(expected_rows([*kept, *more]), key=str)


def test_rows_that_are_not_those_of_their_ledger_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "source", [segment("a.mp4")])
    with (
        Table.open(str(tmp_path / "source")) as table,
        DerivedOutput.in_storage(open_storage(str(tmp_path / "out")), schema=SCHEMA, settings=SETTINGS) as output,
    ):
        (merged,) = table.entries()
        rows = pa.concat_tables(table.rows([merged])).cast(SCHEMA)
        for wrong in (rows.slice(1), rows.drop_columns(["embedding"])):
            with pytest.raises(ValueError, match="rows of"):
                output.add_videos({merged.video: merged.entry}, wrong)
        assert output.is_empty


def test_videos_with_other_errors_are_found_whatever_the_order() -> None:
    def errors(video: str, clip: int | None, text: str) -> pa.Table:
        rows = error_rows(SCHEMA, video, kind="timeout", message=text)
        return rows.set_column(1, "clip", pa.array([clip], pa.int32())).select(ERROR_COLUMNS)

    good = rows_of(segment("good.mp4")).select(ERROR_COLUMNS)
    one, two, three = errors("a", 1, "x"), errors("a", 2, "x"), errors("b", None, "y")
    assert set(error_digests([good, one, two, three])) == {"a", "b"}
    first = error_digests([one, two, three])
    assert with_other_errors(first, error_digests([three, good, two, one])) == set()
    assert with_other_errors(first, error_digests([one, three])) == {"a"}
    assert with_other_errors(first, error_digests([one, errors("a", 2, "z")])) == {"a", "b"}
    assert with_other_errors({}, first) == {"a", "b"}

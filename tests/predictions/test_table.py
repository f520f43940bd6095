from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.predictions.cases import MODES, SCHEMA, SETTINGS, expected_rows, open_output, rows_of, segment
from vidcnn.errors import OutputBusyError, OutputError, SourceError
from vidcnn.predictions.table import Table
from vidcnn.scans import scan_schema
from vidcnn.sources.lists import SCAN

KEYS = [segment("b.mp4", 0, 2), segment("b.mp4", 1, 2), segment("a.mp4"), segment("bad.mp4"), segment("c.mp4", 1, 3)]


@pytest.fixture(params=MODES)
def table(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    out = tmp_path / str(request.param)
    with open_output(out) as output:
        for key in KEYS[:2]:
            output.add(key, rows_of(key))
        output.publish()
    with open_output(out) as output:
        for key in KEYS[2:]:
            output.add(key, rows_of(key))
        output.publish()
    return out


def test_what_is_committed_is_read_in_order_with_what_it_is_of(table: Path) -> None:
    with Table.open(str(table)) as opened:
        assert opened.settings == SETTINGS
        assert opened.schema.equals(SCHEMA)
        assert (opened.location, opened.labels) == (str(table), ("run", "jump", "fall"))
        assert (opened.num_videos, opened.embedding_size) == (4, 2)
        entries = list(opened.entries())
        assert [(video, entry.num_segments, entry.segments) for video, entry in entries] == [
            ("a.mp4", 1, 0b1), ("b.mp4", 2, 0b11), ("bad.mp4", 1, 0b1), ("c.mp4", 3, 0b10)
        ]  # fmt: skip
        assert pa.concat_tables(opened.rows(entries)).to_pylist() == expected_rows(KEYS)
        some = pa.concat_tables(opened.rows(entries[1:2], ["video", "clip"]))
        assert (some.num_rows, some.column_names) == (6, ["video", "clip"])
        read = pa.concat_tables(opened.read(["video", "score"]))
        assert sorted(read["video"].to_pylist()) == [row["video"] for row in expected_rows(KEYS)]


def test_of_settings_that_differ_by_what_an_earlier_version_did_not_record_those_with_it_are_taken(
    tmp_path: Path,
) -> None:
    for settings, key in ((SETTINGS, KEYS[2]), (SETTINGS | {"backbone_sha256": "cd" * 32}, KEYS[3])):
        with open_output(tmp_path / "preds", settings=settings) as output:
            output.add(key, rows_of(key))
            output.publish()
    with Table.open(str(tmp_path / "preds")) as opened:
        assert opened.settings["backbone_sha256"] == "cd" * 32


def test_what_is_no_table_is_told_without_advice_for_writers(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"there is no table '.*absent\.parquet'"):
        Table.open(str(tmp_path / "absent.parquet"))
    pq.write_table(pa.table({"video": ["a"]}), tmp_path / "foreign.parquet")
    with pytest.raises(OutputError, match="was not written by vidcnn") as raised:
        Table.open(str(tmp_path / "foreign.parquet"))
    assert "--out" not in str(raised.value)
    with open_output(tmp_path / "scan.parquet", schema=scan_schema(), settings={"table": SCAN}) as output:
        rows = pa.table([pa.nulls(1, field.type) for field in scan_schema()], schema=scan_schema())
        output.add(KEYS[2], rows.set_column(0, "video", pa.array(["a.mp4"])).cast(scan_schema()))
        output.publish()
    with pytest.raises(SourceError, match="is a scan, not a table of predictions"):
        Table.open(str(tmp_path / "scan.parquet"))


def test_a_table_that_is_being_written_is_not_read(table: Path) -> None:
    with open_output(table), pytest.raises(OutputBusyError):
        Table.open(str(table))
    Table.open(str(table)).__exit__(None, None, None)

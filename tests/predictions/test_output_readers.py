"""What readers of a table see, and outputs that cannot be used."""

from __future__ import annotations

import json
import os
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.predictions import cases
from tests.predictions.cases import hidden, open_output, rows_of, segment, visible_rows, write
from vidcnn import __version__
from vidcnn.errors import OutputBusyError, OutputError, SettingsDifferError
from vidcnn.predictions.files import metadata, read_ledger, write_file
from vidcnn.predictions.rows import prediction_schema
from vidcnn.predictions.section import LedgerWriter


def test_pandas_polars_and_duckdb_read_the_table(out: Path) -> None:
    write(out, [key for key in cases.OLD if not key.video.name.startswith("bad")])
    write(out, cases.NEW)
    expected = cases.in_order(visible_rows(out))
    pattern = str(out) if out.suffix else f"{out}/*.parquet"
    pandas = pd.read_parquet(out).sort_values(["video", "clip"], na_position="first")
    polars = pl.read_parquet(out).sort("video", "clip", nulls_last=False)
    duck = duckdb.sql(f"select * from '{pattern}' order by video, clip nulls first").fetchall()
    columns = list(expected[0])
    assert list(pandas.columns) == polars.columns == columns
    for name, values in (
        ("pandas", pandas.astype(object).where(pandas.notna(), None).to_dict("records")),
        ("polars", polars.to_dicts()),
        ("duckdb", [dict(zip(columns, row, strict=True)) for row in duck]),
    ):
        assert len(values) == len(expected)
        for row, wanted in zip(values, expected, strict=True):
            for column in columns:
                assert plain(row[column]) == plain(wanted[column]), (name, column)
    kinds = duckdb.sql(f"select error_kind, count(*) from '{pattern}' where error is not null group by 1")
    assert dict(kinds.fetchall()) == {"unreadable": 2, "truncated": 5}
    assert polars["error_kind"].dtype == pl.Categorical
    assert pandas["error_kind"].dtype == "category" or not out.suffix


def plain(value: object) -> object:
    """Make what the readers return comparable: numpy's arrays and numbers to Python's."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return float(value) if isinstance(value, int | float) else value


def test_the_files_metadata_say_what_made_them(out: Path) -> None:
    write(out, cases.NEW)
    for path in [out] if out.suffix else out.iterdir():
        metadata = pq.read_metadata(path).metadata
        assert metadata[b"vidcnn.version"] == __version__.encode()
        assert metadata[b"vidcnn.model"] == b"tiny"
        assert metadata[b"vidcnn.weights_sha256"] == b"ab" * 32
        assert metadata[b"vidcnn.run_id"] == b"test"
        assert json.loads(metadata[b"vidcnn.settings"]) == cases.SETTINGS


def test_other_settings_are_refused_by_name(out: Path) -> None:
    write(out, cases.OLD)
    changed = {**cases.SETTINGS, "stride": 2, "fps": 1.5}
    with pytest.raises(SettingsDifferError, match=r"was written with other clips: fps none, now 1\.5, stride 4, now 2"):
        open_output(out, settings=changed)
    with pytest.raises(SettingsDifferError, match=r"was written with other columns: embedding .*, now none") as raised:
        open_output(out, schema=prediction_schema(num_classes_for_probabilities=3, embedding_size=None))
    assert "another --out" in raised.value.hint
    write(out, cases.OLD)


def test_settings_of_parts_that_wait_to_be_merged_count_too(tmp_path: Path) -> None:
    out = tmp_path / "preds.parquet"
    write(out, cases.OLD, publish=False)
    with pytest.raises(SettingsDifferError):
        open_output(out, settings={})


def test_a_file_that_vidcnn_did_not_write_is_left_alone(out: Path) -> None:
    path = out if out.suffix else out / "part-0.parquet"
    path.parent.mkdir(exist_ok=True)
    pq.write_table(rows_of(segment("a")), path)
    before = path.read_bytes()
    with pytest.raises(OutputError, match="was not written by vidcnn"):
        open_output(out)
    assert path.read_bytes() == before
    assert list(out.parent.iterdir()) == [out]


def test_a_file_cut_short_is_named(out: Path) -> None:
    write(out, cases.OLD)
    path = out if out.suffix else next(out.iterdir())
    os.truncate(path, path.stat().st_size - 10)
    with pytest.raises(OutputError, match=f"{path.name} is damaged") as raised:
        open_output(out)
    assert "\n" not in str(raised.value)


def test_a_part_that_lost_rows_is_not_merged(tmp_path: Path) -> None:
    out = tmp_path / "preds.parquet"
    write(out, cases.OLD, publish=False)
    (part,) = hidden(out).glob("part-*")
    rows = pq.read_table(part, schema=cases.SCHEMA)
    with LedgerWriter.of(read_ledger(pa.OSFile, str(part))) as ledger, part.open("wb") as sink:
        write_file(sink, [rows.slice(1)], cases.SCHEMA, metadata(cases.SETTINGS, "run", 1), ledger)
    with pytest.raises(OutputError, match=f"{part.name} should contain 19 rows, but 18 are there"):
        open_output(out)
    assert not out.exists()
    assert part.exists()


def test_a_second_run_on_the_same_output_is_refused_while_the_first_one_lives(out: Path) -> None:
    with open_output(out):
        with pytest.raises(OutputBusyError, match=f"held by another run .process {os.getpid()} on "):
            open_output(out)
        (out.parent / "alias").symlink_to(out.parent)
        with pytest.raises(OutputBusyError):
            open_output(out.parent / "alias" / out.name)
    open_output(out).close()

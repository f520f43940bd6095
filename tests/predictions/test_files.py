from __future__ import annotations

import io
import itertools
import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.predictions import cases
from tests.predictions.cases import SCHEMA, SETTINGS, rows_of, segment
from vidcnn.errors import OutputError
from vidcnn.predictions import files as prediction_files
from vidcnn.predictions.files import (
    merged_rows,
    metadata,
    read_columns,
    read_footer,
    read_rows,
    sort_rows,
    write_file,
)
from vidcnn.predictions.ledger import Entry, Ledger, SegmentKey, entry_of, include
from vidcnn.predictions.rows import prediction_rows, prediction_schema

KEYS = [segment(f"video-{i:02}", index, 2) for i in range(9) for index in (0, 1)] + [segment("bad")]


def ledger_of(keys: list[SegmentKey], file: str) -> Ledger:
    ledger: Ledger = {}
    for key in keys:
        include(ledger, {key.video.name: entry_of(key, rows_of(key).num_rows)._replace(files=(file,))})
    return ledger


def write(path: Path, keys: list[SegmentKey]) -> Ledger:
    ledger = ledger_of(keys, str(path))
    with path.open("wb") as sink:
        table = sort_rows(pa.concat_tables(rows_of(key) for key in keys))
        write_file(sink, [table], SCHEMA, metadata(SETTINGS, "run", ledger))
    return ledger


def test_a_file_says_what_it_holds_and_gives_its_rows_back(tmp_path: Path) -> None:
    ledger = write(tmp_path / "f", KEYS)
    footer = read_footer(pa.OSFile, str(tmp_path / "f"))
    assert footer.ledger == ledger
    assert footer.settings == SETTINGS
    assert footer.schema == SCHEMA
    without = read_rows(pa.OSFile, str(tmp_path / "f"), without={"video-03", "bad"})
    kept = [key for key in KEYS if key.video.name not in ("video-03", "bad")]
    assert without.to_pylist() == cases.expected_rows(kept)


def test_columns_come_a_row_group_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prediction_files, "ROW_GROUP_ROWS", 10)
    write(tmp_path / "f", KEYS)
    pieces = list(read_columns(pa.OSFile, str(tmp_path / "f"), ["video", "clip"], without=["bad"]))
    assert [piece.num_rows for piece in pieces] == [9, 10, 10, 10, 10, 5]
    assert pieces[0].column_names == ["video", "clip"]


@pytest.mark.parametrize("seed", range(5))
def test_how_the_rows_were_cut_leaves_no_trace(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prediction_files, "ROW_GROUP_ROWS", 7)
    table = sort_rows(pa.concat_tables(rows_of(key) for key in KEYS))
    choose = random.Random(seed)
    cuts = sorted({0, table.num_rows, *(choose.randrange(table.num_rows) for _ in range(6))})
    whole, pieces = io.BytesIO(), io.BytesIO()
    write_file(whole, [table.combine_chunks()], SCHEMA, {})
    slices = [table.slice(start, end - start) for start, end in itertools.pairwise(cuts)]
    write_file(pieces, slices, SCHEMA, {})
    assert whole.getvalue() == pieces.getvalue()
    sizes = [pq.read_metadata(whole).row_group(group).num_rows for group in range(8)]
    assert sizes == [7] * 7 + [table.num_rows - 49]


def test_how_the_rows_were_cut_leaves_no_trace_in_large_pages_either() -> None:
    num_rows, rng = 20_000, np.random.default_rng(0)
    schema = prediction_schema(num_classes_for_probabilities=100, embedding_size=None)
    table = prediction_rows(
        schema,
        "a",
        clips=np.arange(num_rows),
        start_seconds=rng.random(num_rows),
        end_seconds=rng.random(num_rows),
        labels=["run", "jump"],
        top_indices=rng.integers(0, 2, (num_rows, 2)),
        top_scores=rng.random((num_rows, 2)),
        probabilities=rng.random((num_rows, 100)),
    )
    whole, pieces = io.BytesIO(), io.BytesIO()
    write_file(whole, [table], schema, {})
    write_file(pieces, [table.slice(start, 777) for start in range(0, num_rows, 777)], schema, {})
    assert whole.getvalue() == pieces.getvalue()


@pytest.mark.parametrize("range_bytes", [1, 5_000, 20_000, 10**9])
def test_merging_gives_all_rows_in_order_for_any_size_of_range(
    tmp_path: Path, range_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prediction_files, "ROW_GROUP_ROWS", 4)
    shuffled = random.Random(1).sample(KEYS, len(KEYS))
    ledger: Ledger = {}
    for part in range(4):
        assert not include(ledger, write(tmp_path / f"{part}", shuffled[part::4]))
    tables = list(merged_rows(pa.OSFile, ledger, SCHEMA, range_bytes=range_bytes))
    assert [row for table in tables for row in table.to_pylist()] == cases.expected_rows(KEYS)
    assert len(tables) == {1: 10, 5_000: 5, 20_000: 2, 10**9: 1}[range_bytes]


def test_rows_of_files_that_the_ledger_does_not_name_are_left_out(tmp_path: Path) -> None:
    old = write(tmp_path / "old", [segment("a"), segment("b")])
    new = write(tmp_path / "new", [segment("a", version=1)])
    (table,) = merged_rows(pa.OSFile, old | new, SCHEMA)
    assert table.to_pylist() == cases.expected_rows([segment("a", version=1), segment("b")])


def test_merging_notices_rows_that_are_missing(tmp_path: Path) -> None:
    ledger = write(tmp_path / "f", [segment("a"), segment("b")])
    ledger["b"] = Entry(*ledger["b"][:4], num_rows=4, files=ledger["b"].files)
    with pytest.raises(OutputError, match="should hold 7 rows from a to b, but 6 are there"):
        list(merged_rows(pa.OSFile, ledger, SCHEMA))


def test_a_row_without_clip_comes_first() -> None:
    table = pa.table({"video": ["b", "a", "b", "a"], "clip": pa.array([0, 1, None, 0], pa.int32())})
    assert sort_rows(table).to_pylist() == [
        {"video": "a", "clip": 0},
        {"video": "a", "clip": 1},
        {"video": "b", "clip": None},
        {"video": "b", "clip": 0},
    ]


def test_a_file_whose_metadata_are_not_understood_is_damaged(tmp_path: Path) -> None:
    for values in ({"vidcnn.ledger": "AAAA", "vidcnn.settings": "{}"}, {"vidcnn.ledger": "AAAA"}):
        with (tmp_path / "f").open("wb") as sink:
            write_file(sink, [], SCHEMA, values)
        with pytest.raises(OutputError, match="f is damaged or cannot be read"):
            read_footer(pa.OSFile, str(tmp_path / "f"))


def test_a_file_whose_pages_are_damaged_is_named(tmp_path: Path) -> None:
    path = tmp_path / "f"
    ledger = write(path, KEYS)
    content = bytearray(path.read_bytes())
    content[4:200] = bytes(196)
    path.write_bytes(content)
    with pytest.raises(OutputError, match="f is damaged or cannot be read"):
        list(merged_rows(pa.OSFile, ledger, SCHEMA))

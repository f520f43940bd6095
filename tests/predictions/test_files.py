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
    check_file,
    metadata,
    read_columns,
    read_ledger,
    read_rows,
    sort_rows,
    write_file,
)
from vidcnn.predictions.ledger import Ledger, entry_of, include
from vidcnn.predictions.reading import TableFile
from vidcnn.predictions.rows import prediction_rows, prediction_schema
from vidcnn.predictions.section import LedgerWriter
from vidcnn.sources.keys import SegmentKey

KEYS = [segment(f"video-{i:02}", index, 2) for i in range(9) for index in (0, 1)] + [segment("bad")]


def ledger_of(keys: list[SegmentKey], file: str) -> Ledger:
    ledger: Ledger = {}
    for key in keys:
        include(ledger, {key.video.name: entry_of(key, rows_of(key).num_rows)._replace(files=(file,))})
    return ledger


def write(path: Path, keys: list[SegmentKey]) -> Ledger:
    ledger = ledger_of(keys, str(path))
    with path.open("wb") as sink, LedgerWriter.of(ledger) as writer:
        table = sort_rows(pa.concat_tables(rows_of(key) for key in keys))
        write_file(sink, [table], SCHEMA, metadata(SETTINGS, "run", 1), writer)
    return ledger


def whole_file(tables: list[pa.Table], schema: pa.Schema) -> io.BytesIO:
    sink = io.BytesIO()
    with LedgerWriter() as ledger:
        write_file(sink, tables, schema, {}, ledger)
    return sink


def test_a_file_says_what_it_holds_and_gives_its_rows_back(tmp_path: Path) -> None:
    ledger = write(tmp_path / "f", KEYS)
    with TableFile(pa.OSFile, str(tmp_path / "f")) as file:
        footer = file.footer()
    assert (footer.settings, footer.schema) == (SETTINGS, SCHEMA)
    assert (footer.run_id, footer.generation, footer.num_videos, footer.num_rows) == ("run", 1, 10, 55)
    assert read_ledger(pa.OSFile, str(tmp_path / "f")) == ledger
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
    whole = whole_file([table.combine_chunks()], SCHEMA)
    slices = [table.slice(start, end - start) for start, end in itertools.pairwise(cuts)]
    pieces = whole_file(slices, SCHEMA)
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
    whole = whole_file([table], schema)
    pieces = whole_file([table.slice(start, 777) for start in range(0, num_rows, 777)], schema)
    assert whole.getvalue() == pieces.getvalue()


def test_a_row_without_clip_comes_first() -> None:
    table = pa.table({"video": ["b", "a", "b", "a"], "clip": pa.array([0, 1, None, 0], pa.int32())})
    assert sort_rows(table).to_pylist() == [
        {"video": "a", "clip": 0},
        {"video": "a", "clip": 1},
        {"video": "b", "clip": None},
        {"video": "b", "clip": 0},
    ]


def test_a_file_that_holds_something_else_than_was_written_does_not_pass(tmp_path: Path) -> None:
    path = tmp_path / "f"
    with LedgerWriter.of(write(path, KEYS)) as ledger:
        ledger.copy_to(io.BytesIO())
        check_file(pa.OSFile, str(path), ledger, rows=True)
        write(path, KEYS[2:])
        with pytest.raises(OutputError, match="written with 55 rows of 10 videos, but 49 of 9 are read back"):
            check_file(pa.OSFile, str(path), ledger, rows=True)

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.pages.tables import rows_of, write_table
from vidcnn.errors import OutputError
from vidcnn.predictions.dataset import open_dataset, row_batches


def test_rows_of_all_parts_come_in_pieces_with_kinds_of_errors_as_texts(tmp_path: Path) -> None:
    (tmp_path / "preds").mkdir()
    for name in "ab":
        write_table(tmp_path / "preds" / f"part-{name}.parquet", {name: [("run", 0.5), None]})
    pieces = list(row_batches(open_dataset(tmp_path / "preds"), ("video", "error_kind")))
    assert pa.concat_tables(pieces).to_pydict() == {
        "video": ["a", "a", "b", "b"],
        "error_kind": [None, "corrupt_frames", None, "corrupt_frames"],
    }
    assert pieces[0].schema.field("error_kind").type == pa.string()


def test_what_is_no_table_is_said(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="does not exist"):
        open_dataset(tmp_path / "none.parquet")
    pq.write_table(rows_of("a", []).drop_columns(["score"]), tmp_path / "other.parquet")
    with pytest.raises(OutputError, match="no table of predictions: it has no column score"):
        open_dataset(tmp_path / "other.parquet")


def test_a_file_that_is_damaged_is_an_error_in_one_line(tmp_path: Path) -> None:
    path = write_table(tmp_path / "p.parquet", {"a": [("run", 0.5)] * 100})
    content = bytearray(path.read_bytes())
    content[4:200] = b"\xff" * 196
    path.write_bytes(content)
    with pytest.raises(OutputError, match="the table cannot be read: "):
        list(row_batches(open_dataset(path), ("video",)))

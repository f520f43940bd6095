from __future__ import annotations

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.annotations.data import NO_VAL, write
from tests.fuzzing import damaged, refusing
from tests.limits import within
from vidcnn.annotations import SplitSettings
from vidcnn.annotations.files import check_no_columns_needed, read_file
from vidcnn.annotations.problems import Problems
from vidcnn.annotations.rows import ListFile, Row
from vidcnn.errors import DataError


def read(location: str) -> list[Row]:
    problems = Problems("data")
    rows = read_file(ListFile(location, Path(location).name), NO_VAL, problems)
    problems.raise_if_any()
    return rows


@pytest.mark.parametrize("delimiter", [",", "\t", ";"])
def test_a_text_with_a_heading_is_a_table_whatever_divides_its_cells(tmp_path: Path, delimiter: str) -> None:
    path = write(tmp_path / "a.csv", delimiter.join(("label", "path")), delimiter.join(("run", "x.mp4")))
    assert [(row.path, row.labels, row.is_indexed) for row in read(path)] == [("x.mp4", ("run",), False)]


def test_a_text_without_a_heading_is_a_list_of_indexes(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "# made by hand", "x.mp4 3")
    assert [(row.path, row.labels, row.is_indexed) for row in read(path)] == [("x.mp4", ("3",), True)]


def test_rows_are_counted_by_lines_even_where_one_takes_several(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "path,label", '"x', '.mp4",run', "", "y.mp4,")
    rows = read(path)
    assert [(row.place, row.path) for row in rows] == [("line 3", "x\n.mp4"), ("line 5", "y.mp4")]


def test_a_parquet_file_gives_the_same_rows_as_a_text(tmp_path: Path) -> None:
    pq.write_table(pa.table({"label": ["run", "fall"], "path": ["x.mp4", "y.mp4"]}), tmp_path / "a.parquet")
    rows = read(str(tmp_path / "a.parquet"))
    assert [(row.place, row.path, row.labels) for row in rows] == [
        ("row 1", "x.mp4", ("run",)),
        ("row 2", "y.mp4", ("fall",)),
    ]


def test_a_file_that_is_neither_says_what_its_first_line_is(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "to be done")
    with pytest.raises(DataError, match=r"'a\.txt' is neither a table .* its first line is 'to be done'"):
        read(path)


def test_a_file_without_rows_and_one_that_is_not_there_are_errors(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'a\.csv' has no rows"):
        read(write(tmp_path / "a.csv", "path,label"))
    with pytest.raises(DataError, match=r"'b\.csv' does not exist"):
        read(str(tmp_path / "b.csv"))


def test_a_file_that_is_not_of_its_kind_is_told_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"path,label")
    with pytest.raises(DataError) as raised:
        read(str(tmp_path / "a.parquet"))
    assert raised.value.message.startswith("'a.parquet' cannot be read: ")
    assert raised.value.hint == "check that it is a .parquet file, in UTF-8 if it is text"


@pytest.mark.parametrize("settings", [SplitSettings(split_by="fold"), SplitSettings(val_where=("fold=1",))])
def test_data_without_columns_is_not_divided_by_one(settings: SplitSettings) -> None:
    check_no_columns_needed("data", SplitSettings())
    with pytest.raises(DataError, match="'data' has no column 'fold' to divide it by"):
        check_no_columns_needed("data", settings)


def parquet_bytes(**columns: list[object]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink, write_statistics=False)
    return sink.getvalue()


TABLE = b'path,label,split,start_seconds,end_seconds\n"a, b.mp4",run|fall,val,1,2.5\nc.mp4,jump,,,\n'
ANNOTATIONS = {
    "csv": damaged(
        TABLE, TABLE.replace(b",", b";"), b"label,youtube_id,time_start,time_end,split\nrun,abc,1,2,train\n"
    ),
    "tsv": damaged(TABLE.replace(b",", b"\t")),
    "txt": damaged(b"# made by hand\na b.mp4 3\nframes/a 163 3\nc.mp4 1 4 7\n", b'a.mp4,3\n"c""d.mp4",4\n'),
    "parquet": damaged(
        parquet_bytes(path=["a.mp4", "b.mp4"], label=["run", None], start_seconds=[0.5, float("nan")]),
        parquet_bytes(path=[b"a.mp4", None], label=[["run"], []], end_seconds=[2**62, -1]),
    ),
}


@pytest.mark.fuzz
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), kind=st.sampled_from(sorted(ANNOTATIONS)))
def test_damaged_annotations_are_rows_or_an_error_in_words(data: st.DataObject, kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{kind}"
    path.write_bytes(data.draw(ANNOTATIONS[kind]))
    with within(20), refusing(DataError):
        assert read(str(path))


def test_a_damaged_parquet_file_is_no_fault_of_the_storage(tmp_path: Path) -> None:
    whole = parquet_bytes(path=["a.mp4"], label=["run"])
    for content in (whole[:-40] + b"\xff" * 32 + whole[-8:], whole[:-200] + b"\x99" * 192 + whole[-8:]):
        (tmp_path / "a.parquet").write_bytes(content)
        with pytest.raises(DataError, match=r"a\.parquet' cannot be read"):
            read(str(tmp_path / "a.parquet"))

"""Lists of videos, format by format."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.commands import environment
from tests.fuzzing import damaged, refusing
from tests.limits import within
from vidcnn.errors import SourceError
from vidcnn.sources.lists import is_list, read_list


def texts(location: str) -> list[str]:
    return [entry.text for entry in read_list(location)]


def write(path: Path, content: bytes | str) -> str:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def test_the_extension_tells_a_list() -> None:
    assert [is_list(f"/d.txt/{name}") for name in ("a.txt", "A.CSV", "a.tsv", "a.parquet", "a.mp4", "a")] == (
        [True, True, True, True, False, False]
    )


def test_a_text_list_has_one_entry_a_line_without_blank_lines_and_comments(tmp_path: Path) -> None:
    text = "\ufeffa.mp4\r\n\n  # comment\n  b c.mp4 \n#no.mp4\ns3://b/k#1.mp4\n   \nlast.mp4"
    assert texts(write(tmp_path / "l.txt", text)) == ["a.mp4", "b c.mp4", "s3://b/k#1.mp4", "last.mp4"]


def test_a_carriage_return_within_a_name_is_kept(tmp_path: Path) -> None:
    assert texts(write(tmp_path / "l.txt", "a\rb.mp4\r\nc.mp4")) == ["a\rb.mp4", "c.mp4"]


def test_bytes_of_a_text_list_that_do_not_decode_are_kept(tmp_path: Path) -> None:
    assert texts(write(tmp_path / "l.txt", b"caf\xe9.mp4\n")) == ["caf\udce9.mp4"]


@pytest.mark.parametrize(
    ("name", "text", "entries"),
    [
        ("l.csv", "label,path\n1,a.mp4\n2,b.mp4\n", ["a.mp4", "b.mp4"]),
        ("l.csv", "video,path\nx,a.mp4\n", ["a.mp4"]),
        ("l.csv", "clip, Video \n0,a.mp4\n", ["a.mp4"]),
        ("l.tsv", "path\tlabel\na,b.mp4\t1\n", ["a,b.mp4"]),
        ("l.csv", "file,label\na.mp4,1\n", ["a.mp4"]),
        ("l.csv", "a.mp4,1\nb.mp4,2\n", ["a.mp4", "b.mp4"]),
        ("l.csv", "dir/clip\nother\n", ["dir/clip", "other"]),
        ("l.csv", "\n\npath\na.mp4\n\nb.mp4\n", ["a.mp4", "b.mp4"]),
        ("l.csv", "label,path\n1\n2,b.mp4\n3,\n", ["b.mp4"]),
        ("l.csv", 'path\n"a, ""b"".mp4"\n"new\nline.mp4"\n', ['a, "b".mp4', "new\nline.mp4"]),
        ("l.csv", "", []),
    ],
)
def test_a_table_gives_its_column_of_paths_with_or_without_a_header(
    tmp_path: Path, name: str, text: str, entries: list[str]
) -> None:
    assert texts(write(tmp_path / name, text)) == entries


def test_the_first_line_of_a_table_is_an_entry_if_there_is_such_a_folder(tmp_path: Path) -> None:
    location = write(tmp_path / "l.csv", "clip001\nclip002\n")
    assert texts(location) == ["clip002"]
    (tmp_path / "clip001").mkdir()
    assert texts(location) == ["clip001", "clip002"]


@pytest.mark.parametrize(
    ("table", "entries"),
    [
        ({"n": [1, 2], "path": ["a.mp4", None]}, ["a.mp4"]),
        ({"video": ["a.mp4"], "label": ["x"]}, ["a.mp4"]),
        ({"label": ["x"], " Path": ["a.mp4"]}, ["a.mp4"]),
        ({"file": ["a.mp4"], "label": ["x"]}, ["a.mp4"]),
        ({"path": pa.array(["a.mp4", "b.mp4", "a.mp4"]).dictionary_encode()}, ["a.mp4", "b.mp4", "a.mp4"]),
        ({"path": pa.array(["a.mp4"], pa.large_string())}, ["a.mp4"]),
    ],
)
def test_a_parquet_list_gives_its_column_of_paths(tmp_path: Path, table: dict[str, object], entries: list[str]) -> None:
    pq.write_table(pa.table(table), tmp_path / "l.parquet")
    assert texts(str(tmp_path / "l.parquet")) == entries


def test_a_list_is_read_as_it_is_asked_for(tmp_path: Path) -> None:
    entries = read_list(write(tmp_path / "l.csv", "path\na.mp4\n" + '"never closed'))
    assert next(entries).text == "a.mp4"
    with pytest.raises(SourceError):
        next(entries)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("l.txt", "a.mp4\n".encode("utf-16"), "not text in UTF-8"),
        ("l.csv", "path\n" + '"a.mp4\n', "unexpected end of data"),
        ("l.parquet", b"not parquet", "Parquet magic bytes"),
        ("l.csv", "id,filepath\n1,a.mp4\n", "no column 'path': rename 'filepath' to 'path'"),
        ("l.csv", "path,Path\na.mp4,b.mp4\n", "the column 'path' twice"),
    ],
)
def test_a_list_that_is_not_of_its_format_is_an_error(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    with pytest.raises(SourceError, match=reason) as caught:
        texts(write(tmp_path / name, content))
    assert str(tmp_path / name) in caught.value.message
    assert "\n" not in str(caught.value)
    assert caught.value.hint


def test_a_parquet_list_without_a_column_of_text_is_an_error(tmp_path: Path) -> None:
    pq.write_table(pa.table({"n": [1]}), tmp_path / "l.parquet")
    with pytest.raises(SourceError, match="its column 'n' contains int64, not paths"):
        texts(str(tmp_path / "l.parquet"))


def test_a_list_that_is_gone_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"gone\.txt' does not exist"):
        texts(str(tmp_path / "gone.txt"))


ENTRIES = """
import os
from vidcnn.sources.lists import read_stdin
os.write(1, os.fsencode(repr([entry.text for entry in read_stdin()])))
"""


def entries_of(given: bytes) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-c", ENTRIES], env=environment(), input=given, capture_output=True, check=False
    )


def test_a_list_on_standard_input_is_as_one_of_text() -> None:
    done = entries_of(b"./caf\xe9.mp4\n\n # comment\n b c.mp4 \r\nlast.mp4")
    assert done.stdout.decode() == repr(["./caf\udce9.mp4", "b c.mp4", "last.mp4"])


def test_what_is_no_text_on_standard_input_is_an_error_with_what_it_takes() -> None:
    assert b"SourceError: the list on standard input cannot be read: it is not text" in entries_of(b"a.mp4\0b").stderr


def parquet_bytes(**columns: list[object]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue()


LISTS = {
    "txt": damaged(b"# names\na.mp4\n  b c.mp4\ns3://b/k.mp4\n"),
    "csv": damaged(b'path,label\n"a,b.mp4",run\nc.mp4,fall\n', b"a.mp4\nb.mp4\n"),
    "tsv": damaged(b"video\tlabel\na.mp4\trun\n"),
    "parquet": damaged(parquet_bytes(path=["a.mp4", None]), parquet_bytes(video=["a"], n=[1]), parquet_bytes(n=[1])),
}


@pytest.mark.fuzz
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), kind=st.sampled_from(sorted(LISTS)))
def test_a_damaged_list_is_entries_or_an_error_in_words(data: st.DataObject, kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"l.{kind}"
    path.write_bytes(data.draw(LISTS[kind]))
    with within(20), refusing(SourceError):
        assert all(texts(str(path)))

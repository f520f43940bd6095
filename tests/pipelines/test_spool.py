"""Tables in a file that others read while it is written."""

from __future__ import annotations

import errno
import threading
import time
from pathlib import Path

import pyarrow as pa
import pytest

from vidcnn.errors import StorageError
from vidcnn.pipelines.spool import Spool, load_table, read_spool


def table(number: int) -> pa.Table:
    return pa.table({"number": [number] * (number + 1)})


def test_every_reader_reads_all_tables_each_when_it_is_there(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    spool.append(table(0))
    first, second = iter(spool), map(load_table, read_spool(spool.path, spool.key))
    assert next(first).equals(table(0))
    read: list[pa.Table] = []
    reader = threading.Thread(target=lambda: read.extend(second))
    reader.start()
    for number in range(1, 5):
        spool.append(table(number))
        assert next(first).equals(table(number))
    assert reader.is_alive()
    spool.end()
    reader.join(60)
    assert read == [table(number) for number in range(5)] == list(spool)
    assert next(first, None) is None
    assert (spool.num_tables, spool.is_short) == (5, True)
    spool.close()


def test_a_spool_that_is_closed_has_an_end_and_many_tables_are_not_few(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    for _ in range(200):
        spool.append(table(0))
    spool.close()
    assert not spool.is_short
    assert len(list(spool)) == 200
    assert spool.path.stat().st_size < 200 * 500


def test_a_disk_without_room_is_told_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be kept: no such file"):
        Spool(tmp_path / "none" / "spool")
    spool = Spool(tmp_path / "spool")
    spool._file.close()
    with (
        open("/dev/full", "wb", buffering=0) as spool._file,
        pytest.raises(StorageError, match="no space left") as caught,
    ):
        spool.append(table(0))
    assert "TMPDIR" in caught.value.hint


@pytest.mark.parametrize("num_bytes", [0, 5, 100])
def test_readers_end_where_the_disk_had_no_more_room(num_bytes: int, tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    spool.append(table(0))
    read: list[pa.Table] = []
    reader = threading.Thread(target=lambda: read.extend(map(load_table, read_spool(spool.path, spool.key))))
    reader.start()
    while not read:
        time.sleep(0.01)
    file = spool._file

    class Full:
        def write(self, content: bytes) -> int:
            file.write(content[:num_bytes])
            raise OSError(errno.ENOSPC, "No space left on device")

        def close(self) -> None:
            file.close()

    spool._file = Full()  # type: ignore[assignment]
    with pytest.raises(StorageError, match="no space left"):
        spool.append(table(9))
    spool.end()
    spool.close()
    reader.join(60)
    assert not reader.is_alive()
    assert read == [table(0)]


def test_no_login_of_a_location_is_in_the_file(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    rows = [b"s3://KEY:SECRETCANARY@bucket/%d.mp4" % number for number in range(3)]
    for row in rows:  # too short to be compressed, or alike: each would be seen as it is
        spool.append(pa.table({"video": pa.array([row], pa.binary())}))
    spool.append(pa.table({"video": pa.array(rows[:1], pa.binary())}))
    spool.end()
    content = spool.path.read_bytes()
    assert b"SECRETCANARY" not in content
    assert content.count(content[8:40]) == 1, "equal tables are not equal there"
    assert [table["video"][0].as_py() for table in spool] == [*rows, rows[0]]
    spool.close()

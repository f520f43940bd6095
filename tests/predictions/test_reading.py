from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.faulty_s3 import faulty
from tests.fuzzing import refusing
from tests.limits import within
from tests.predictions.cases import SCHEMA, SETTINGS, expected_rows, in_order, open_output, rows_of, segment, video
from tests.predictions.cases import write as write_table
from tests.predictions.test_files import KEYS, write
from tests.s3 import Server
from vidcnn.errors import OutputError
from vidcnn.predictions import reading
from vidcnn.predictions.files import read_columns, read_ledger, read_rows, write_file
from vidcnn.predictions.output import Output
from vidcnn.predictions.output_storage import look_at
from vidcnn.predictions.reading import TableFile
from vidcnn.predictions.section import LedgerWriter


class Storage:
    """Opens files whose bytes come short, come wrong or do not come, so often; then it is well."""

    def __init__(self, num_faults: int, fault: Callable[[bytes], bytes]) -> None:
        self.num_left, self.fault = num_faults, fault

    def open(self, path: str) -> Any:
        return _File(path, self)


class _File:
    def __init__(self, path: str, storage: Storage) -> None:
        self.file, self.storage, self.closed = open(path, "rb"), storage, False  # noqa: SIM115

    def read(self, size: int = -1) -> bytes:
        return self._spoilt(self.file.read(size))

    def read_at(self, size: int, offset: int) -> bytes:
        return self._spoilt(os.pread(self.file.fileno(), size, offset))

    def _spoilt(self, content: bytes) -> bytes:
        if not content or not self.storage.num_left:
            return content
        self.storage.num_left -= 1
        return self.storage.fault(content)

    def size(self) -> int:
        return os.fstat(self.file.fileno()).st_size

    def seek(self, offset: int, whence: int = 0) -> int:
        return self.file.seek(offset, whence)

    def tell(self) -> int:
        return self.file.tell()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        self.closed = True
        self.file.close()

    def __enter__(self) -> _File:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def short(content: bytes) -> bytes:
    return content[: len(content) // 2]


def wrong(content: bytes) -> bytes:
    return bytes(byte ^ 0x55 for byte in content)


def broken(content: bytes) -> bytes:
    raise ConnectionResetError(104, "Connection reset by peer")


FAULTS = [short, wrong, broken]


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "WAIT_SECONDS", (0.0, 0.0, 0.0))


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("num_faults", [1, 2])
def test_what_fails_for_a_moment_is_read_again(
    tmp_path: Path, fault: Callable[[bytes], bytes], num_faults: int
) -> None:
    ledger = write(tmp_path / "f", KEYS)
    path = str(tmp_path / "f")
    assert read_ledger(Storage(num_faults, fault).open, path) == ledger
    assert read_rows(Storage(num_faults, fault).open, path, without=[]).to_pylist() == expected_rows(KEYS)
    (columns,) = read_columns(Storage(num_faults, fault).open, path, ["video"], without=[])
    assert columns.num_rows == 55


@pytest.mark.parametrize(("fault", "reason"), [(short, "bytes came"), (broken, "connection reset by peer")])
def test_a_storage_that_goes_on_failing_is_not_called_a_damaged_file(
    tmp_path: Path, fault: Callable[[bytes], bytes], reason: str
) -> None:
    write(tmp_path / "f", KEYS)
    with pytest.raises(OutputError, match=f"f cannot be read now: .*{reason}") as raised:
        read_ledger(Storage(10**9, fault).open, str(tmp_path / "f"))
    assert raised.value.hint == "nothing was deleted; the same command continues when the storage answers again"
    assert "\n" not in str(raised.value)


def test_a_file_that_is_gone_is_not_called_damaged(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="f does not exist"):
        read_ledger(pa.OSFile, str(tmp_path / "f"))


@pytest.mark.parametrize("damage", ["cut", "pages", "ledger", "footer", "empty"])
def test_real_damage_is_told_and_nobody_is_told_to_delete_anything(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "f"
    write(path, KEYS)
    content = bytearray(path.read_bytes())
    ledger_at = content.index(b"PAR1", 4)
    start, end = {"pages": (100, 300), "ledger": (ledger_at + 30, ledger_at + 60), "footer": (-300, -200)}.get(
        damage, (0, 0)
    )
    content[start:end] = bytes(end - start)
    path.write_bytes({"cut": content[:-10], "empty": b""}.get(damage, content))
    read = read_rows if damage == "pages" else read_ledger
    with pytest.raises(OutputError, match="f is damaged") as raised:
        read(pa.OSFile, str(path), **({"without": []} if damage == "pages" else {}))
    assert "delete" not in str(raised.value)
    assert "move it to another folder" in raised.value.hint
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "content", [b"video,clip\na.mp4,0\n", b"PARE" + bytes(100) + b"PARE", b"\x1f\x8b" + bytes(50)], ids=repr
)
def test_a_file_of_another_kind_is_not_vidcnns_and_not_damaged(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "f").write_bytes(content)
    with pytest.raises(OutputError, match="f was not written by vidcnn") as raised:
        read_ledger(pa.OSFile, str(tmp_path / "f"))
    assert raised.value.hint == "choose another --out; vidcnn overwrites nothing else"


def test_a_table_of_another_program_is_not_vidcnns(tmp_path: Path) -> None:
    pq.write_table(rows_of(segment("a")), tmp_path / "f")
    with pytest.raises(OutputError, match="f was not written by vidcnn"):
        read_ledger(pa.OSFile, str(tmp_path / "f"))


def test_a_file_whose_metadata_are_not_understood_is_damaged(tmp_path: Path) -> None:
    for values in ({}, {"vidcnn.settings": "{"}, {"vidcnn.settings": "{}", "vidcnn.generation": "x"}):
        with (tmp_path / "f").open("wb") as sink, LedgerWriter() as ledger:
            write_file(sink, [], SCHEMA, values, ledger)
        with pytest.raises(OutputError, match="f is damaged"):
            TableFile(pa.OSFile, str(tmp_path / "f")).footer()


def test_a_file_with_fewer_rows_than_its_ledger_says_is_named(tmp_path: Path) -> None:
    from vidcnn.predictions.files import metadata

    held = write(tmp_path / "f", KEYS)
    with (tmp_path / "f").open("wb") as sink, LedgerWriter.of(held) as ledger:
        rows = pa.concat_tables(rows_of(key) for key in KEYS)
        write_file(sink, [rows.slice(2)], SCHEMA, metadata(SETTINGS, "run", 1), ledger)
    with pytest.raises(OutputError, match="f should contain 55 rows, but 53 are there"):
        read_ledger(pa.OSFile, str(tmp_path / "f"))
    assert in_order(expected_rows(KEYS)) == expected_rows(KEYS)


@pytest.mark.parametrize("name", ["preds", "preds.parquet"])
def test_bodies_that_object_storage_cuts_short_are_asked_for_again(s3: Server, name: str) -> None:
    out = f"s3://bkt/{name}{s3.query}"
    write_table(out, [segment("a"), segment("b")])
    write_table(out, [segment("a", version=1)], publish=False)
    with faulty(s3, match=".parquet") as proxy:
        seen = proxy.location(f"bkt/{name}")
        proxy.fail("short", times=2)
        with Output.in_storage(look_at(seen), schema=SCHEMA, settings=SETTINGS) as output:
            assert output.is_done(video("a", version=1))
            assert output.is_done(video("b"))
        assert (proxy.num_faults, proxy.fault) == (2, "none")
        proxy.fail("short")
        with pytest.raises(OutputError, match=r"cannot be read now: .*bytes came") as raised:
            Output.in_storage(look_at(seen), schema=SCHEMA, settings=SETTINGS)
        assert "delete" not in str(raised.value).replace("nothing was deleted", "")
    write_table(out, [segment("c")])
    with open_output(out) as output:
        assert output.summary().num_videos == 3


def test_settings_that_are_nested_without_end_are_damage(tmp_path: Path) -> None:
    write(tmp_path / "f", KEYS)
    table = pq.read_table(tmp_path / "f")
    metadata = pq.read_metadata(tmp_path / "f").metadata | {b"vidcnn.settings": b"[" * 100_000}
    pq.write_table(table.replace_schema_metadata(metadata), tmp_path / "f")
    with pytest.raises(OutputError, match="f is damaged"):
        read_ledger(pa.OSFile, str(tmp_path / "f"))


@pytest.mark.fuzz
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_a_table_with_changed_bytes_is_read_whole_or_is_damaged(seed: int, tmp_path: Path) -> None:
    path, rng = tmp_path / f"{seed}", random.Random(seed)
    ledger = write(path, KEYS)
    content = bytearray(path.read_bytes())
    footer_at = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    for _ in range(rng.choice((1, 2, 10))):
        content[rng.choice((rng.randrange(len(content)), rng.randrange(footer_at, len(content))))] = rng.randrange(256)
    path.write_bytes(content)
    with within(60), refusing(OutputError):
        read_ledger(pa.OSFile, str(path))
        read_rows(pa.OSFile, str(path), without=[])
    assert ledger

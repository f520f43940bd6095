from __future__ import annotations

import errno
import fcntl
import os
import time
from pathlib import Path
from typing import Any

import pytest

from tests.faulty_s3 import faulty
from tests.s3 import Server
from vidcnn.doctor import storage
from vidcnn.doctor.storage import check_storage
from vidcnn.storage import uris


def test_a_folder_that_does_all_it_should_is_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("stays")
    found = check_storage(str(tmp_path))
    assert (found.level, found.name) == ("good", str(tmp_path))
    assert found.value.startswith("1 MiB written in ")
    assert found.value.endswith("same clock")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_folder_that_is_not_there_or_not_writable_is_named() -> None:
    assert check_storage("/no/such/folder").problem == "/no/such/folder cannot be used: no such file or directory"
    found = check_storage("/proc/self")
    assert (found.level, found.remedy.startswith("make the folder")) == ("failure", True)


def test_a_folder_without_locks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    found = check_storage(str(tmp_path))
    assert found.problem == f"{tmp_path} has no locks (no locks available): two runs could write one output"
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_gives_other_bytes_or_lists_late_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", lambda path: b"old")
        assert "does not give back" in check_storage(str(tmp_path)).problem
    monkeypatch.setattr(os, "listdir", lambda folder: [])
    assert "does not list" in check_storage(str(tmp_path)).problem


@pytest.mark.parametrize(
    ("ahead", "level", "said"),
    [
        (0.0, "good", "same clock"),
        (120.0, "warning", "ahead of"),
        (-120.0, "warning", "behind"),
    ],
)
def test_a_clock_that_is_off_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ahead: float, level: str, said: str
) -> None:
    now = time.time
    monkeypatch.setattr(storage.time, "time", lambda: now() - ahead)
    found = check_storage(str(tmp_path))
    assert found.level == level
    assert said in (found.problem or found.value)
    if ahead:
        assert abs(found.facts["clock_ahead_seconds"]) == pytest.approx(abs(ahead), abs=3)


def test_object_storage_is_tried_and_left_as_it_was(s3: Server) -> None:
    s3.put("pre/mine")
    found = check_storage(f"s3://bkt/pre{s3.query}")
    assert (found.level, found.problem, found.name) == ("good", "", "s3://bkt/pre")
    filesystem, folder = uris.open_filesystem(f"s3://bkt/{s3.query}")
    assert [info.path for info in filesystem.get_file_info(_all(folder))] == ["bkt/pre", "bkt/pre/mine"]


def _all(folder: str) -> Any:
    from pyarrow import fs

    return fs.FileSelector(folder, recursive=True)


def test_object_storage_refuses_requests_where_the_clock_is_far_off(
    s3: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time
    monkeypatch.setattr(storage.time, "time", lambda: now() - 3000)
    found = check_storage(f"s3://bkt/pre{s3.query}")
    assert (found.level, "requests are refused" in found.problem) == ("failure", True)


def test_object_storage_that_is_not_there_or_refuses_is_named_without_its_login(s3: Server) -> None:
    found = check_storage(f"s3://KEY:SECRET@nobucket/pre{s3.query}")
    assert (found.level, found.name) == ("failure", "s3://nobucket/pre")
    assert "SECRET" not in str(found)
    with faulty(s3) as proxy:
        proxy.fail("refuses")
        found = check_storage(proxy.location("bkt/pre"))
    assert (found.level, "rights" in found.remedy) == ("failure", True)
    assert "\n" not in found.problem


def test_a_scheme_that_nobody_knows_is_named() -> None:
    found = check_storage("ftp://host/x")
    assert (found.level, "ftp" in found.problem) == ("failure", True)

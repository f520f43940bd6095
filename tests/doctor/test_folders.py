from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidcnn.doctor.folders import check_folder, check_socket_path


def disk(monkeypatch: pytest.MonkeyPatch, free: int, size: int = 100 * 10**9, free_files: int = 10**6) -> None:
    status: dict[str, Any] = {"f_blocks": size // 1000, "f_bavail": free // 1000, "f_frsize": 1000}
    status |= {"f_files": 10**7, "f_favail": free_files}
    monkeypatch.setattr(os, "statvfs", lambda folder: SimpleNamespace(**status))


@pytest.mark.parametrize(
    ("free", "size", "level"),
    [
        (60 * 10**9, 100 * 10**9, "good"),
        (10 * 10**9, 1000 * 10**9, "warning"),  # fuller than Ray spills to
        (10**9, 10**10, "warning"),
        (10**6, 10**10, "failure"),
    ],
)
def test_a_disk_with_little_room_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, size: int, level: str
) -> None:
    disk(monkeypatch, free, size)
    found = check_folder("temporary", tmp_path)
    assert found.level == level
    assert bool(found.problem) is (level != "good")
    assert list(tmp_path.iterdir()) == []


def test_a_disk_without_room_for_more_files_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk(monkeypatch, 60 * 10**9, free_files=12)
    found = check_folder("temporary", tmp_path)
    assert (found.level, "12 more files" in found.problem) == ("warning", True)


def test_a_folder_that_cannot_be_written_fails_unless_runs_can_do_without_it(tmp_path: Path) -> None:
    found = check_folder("temporary", tmp_path / "none")
    assert (found.level, "TMPDIR" in found.remedy) == ("failure", True)
    assert found.problem.endswith("none cannot be written: no such file or directory")
    found = check_folder("working", Path("/proc/self"), is_needed=False)
    assert (found.level, "--out" in found.remedy) == ("warning", True)


def test_a_folder_whose_name_is_long_is_too_long_for_sockets() -> None:
    assert check_socket_path(Path("/tmp")).level == "good"
    found = check_socket_path(Path("/var/folders/of/somebody/with/a/long/name"))
    assert (found.level, found.remedy) == ("failure", "name a short folder: RAY_TMPDIR=/tmp")


@given(st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=30))
def test_what_counts_is_bytes(name: str) -> None:
    found = check_socket_path(Path("/", name))
    usual = check_socket_path(Path("/a"))
    assert found.facts["longest_bytes"] - usual.facts["longest_bytes"] == len(os.fsencode(Path("/", name))) - 2
    assert (found.level == "failure") is (found.facts["longest_bytes"] > 107)


def test_ray_agrees_about_the_length() -> None:
    from ray._private.utils import validate_socket_filepath

    longest = "/" + "a" * (check_socket_path(Path("/")).facts["allowed_bytes"] - 1)
    validate_socket_filepath(longest)
    with pytest.raises(OSError, match="AF_UNIX"):
        validate_socket_filepath(longest + "a")

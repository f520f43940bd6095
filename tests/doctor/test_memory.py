from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from vidcnn.cluster.control_groups import Limits
from vidcnn.doctor.memory import check_memory, check_shared_memory

GIB = 2**30


@pytest.fixture
def meminfo(tmp_path: Path) -> Path:
    file = tmp_path / "meminfo"
    file.write_text(f"MemTotal: {64 * GIB // 1024} kB\nMemFree: 1 kB\nMemAvailable: {48 * GIB // 1024} kB\nHuge: 0\n")
    return file


def test_what_is_free_is_what_programs_can_have(meminfo: Path) -> None:
    (found,) = check_memory(Limits(), meminfo)
    assert (found.value, found.level, found.short) == ("48.0 of 64.0 GiB free", "good", "64 GiB")


@pytest.mark.parametrize(("free", "level"), [(8.0, "good"), (3.0, "warning"), (0.5, "failure")])
def test_the_limit_of_a_container_counts_where_it_is_less(meminfo: Path, free: float, level: str) -> None:
    limits = Limits(memory_bytes=10 * GIB, memory_free_bytes=int(free * GIB))
    (found,) = check_memory(limits, meminfo)
    assert found.value == f"{free:.1f} of 10.0 GiB free, a limit of the container"
    assert found.level == level
    assert bool(found.remedy) is (level != "good")
    (larger,) = check_memory(Limits(memory_bytes=100 * GIB, memory_free_bytes=90 * GIB), meminfo)
    assert larger.value == "48.0 of 64.0 GiB free"


def shared(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    monkeypatch.setattr(os, "statvfs", lambda folder: SimpleNamespace(f_bavail=free // 4096, f_frsize=4096))


def test_shared_memory_that_is_small_is_a_warning_since_ray_does_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared(monkeypatch, 64 * 2**20)
    (found,) = check_shared_memory(4 * GIB, tmp_path)
    assert (found.level, found.value) == ("warning", "64 MiB free")
    assert "--shm-size 2g" in found.remedy
    shared(monkeypatch, 8 * GIB)
    (found,) = check_shared_memory(4 * GIB, tmp_path)
    assert (found.level, found.value) == ("good", "8.0 GiB free; Ray's object store takes 4.0")
    (found,) = check_shared_memory(4 * GIB, tmp_path / "none")
    assert found.level == "warning"


def test_shared_memory_that_cannot_be_written_will_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shared(monkeypatch, 8 * GIB)
    monkeypatch.setattr(os, "access", lambda folder, mode: False)
    (found,) = check_shared_memory(4 * GIB, tmp_path)
    assert found.level == "failure"

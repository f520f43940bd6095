"""Frames that are kept: they come back as they were, and nothing else counts."""

from __future__ import annotations

import os
import struct
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings

from tests.fuzzing import damaged
from vidcnn.training import cache as module
from vidcnn.training.cache import FrameCache, entry_name
from vidcnn.training.cache_folder import CacheFolder

A, B = entry_name("a"), entry_name("b")
HEADER = struct.Struct("<16sQQQ")
MAGIC = b"vidcnn frames 1\n"


def frames(number: int) -> npt.NDArray[np.uint8]:
    return np.arange(10 * 8 * 6 * 3, dtype=np.uint8).reshape(10, 8, 6, 3) + np.uint8(number)


def folder(path: Path) -> CacheFolder:
    return CacheFolder(path, 10**6, time.time())


def test_frames_come_back_as_they_were_in_any_process(tmp_path: Path) -> None:
    cache = FrameCache(folder(tmp_path))
    assert cache.get(A) is None
    assert cache.put(A, frames(7))
    for reader in (cache, FrameCache(CacheFolder(tmp_path, 0, 0.0))):
        for _ in range(2):
            found = reader.get(A)
            assert found is not None
            assert np.array_equal(found, frames(7))
            assert not found.flags.writeable
    assert cache.get(B) is None


def test_frames_may_lie_in_memory_in_any_order(tmp_path: Path) -> None:
    cache = FrameCache(folder(tmp_path))
    assert cache.put(A, frames(1)[::-2, :, ::-1])
    found = cache.get(A)
    assert found is not None
    assert np.array_equal(found, frames(1)[::-2, :, ::-1])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        MAGIC,
        b"other",
        b"x" * HEADER.size,
        HEADER.pack(MAGIC, 1, 1, 1),
        HEADER.pack(MAGIC, 1, 1, 1) + b"\0" * 4,
        HEADER.pack(b"vidcnn frames 2\n", 1, 1, 1) + b"\0" * 3,
        HEADER.pack(MAGIC, 10**9, 1000, 1000) + b"\0" * 3000,
        HEADER.pack(MAGIC, 2**63, 2, 1) + b"\0" * 3,
        HEADER.pack(MAGIC, 2**64 - 1, 2**64 - 1, 1) + b"\0" * 3,
    ],
)
def test_what_is_no_entry_counts_as_none_and_is_replaced(content: bytes, tmp_path: Path) -> None:
    place = folder(tmp_path)
    cache = FrameCache(place)
    assert cache.put(A, frames(1))
    place.path_of(A).write_bytes(content)
    assert cache.get(A) is None
    assert cache.put(A, frames(2))
    found = cache.get(A)
    assert found is not None
    assert np.array_equal(found, frames(2))


def test_an_entry_that_stays_mapped_counts_as_used_all_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = folder(tmp_path)
    cache = FrameCache(place)
    cache.put(A, frames(1))
    assert cache.get(A) is not None
    os.utime(place.path_of(A), (1, 1))
    assert cache.get(A) is not None
    assert place.path_of(A).stat().st_mtime == 1
    later = time.monotonic() + 61
    monkeypatch.setattr(module.time, "monotonic", lambda: later)
    assert cache.get(A) is not None
    assert place.path_of(A).stat().st_mtime > 1


def test_few_entries_stay_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_MAPPED", 2)
    cache = FrameCache(folder(tmp_path))
    before = Path("/proc/self/maps").read_text().count(str(tmp_path))
    for name in map(entry_name, "abcdef"):
        cache.put(name, frames(1))
        assert cache.get(name) is not None
    assert Path("/proc/self/maps").read_text().count(str(tmp_path)) - before == 2


@pytest.mark.fuzz
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(damaged(HEADER.pack(MAGIC, 2, 3, 4) + bytes(72)))
def test_any_entry_is_frames_or_none(tmp_path: Path, content: bytes) -> None:
    place = folder(tmp_path)
    place.path_of(A).write_bytes(content)
    found = FrameCache(place).get(A)
    if found is not None:
        assert (found.dtype, found.shape[3]) == (np.uint8, 3)
        assert HEADER.size + found.nbytes == len(content)
        assert found.sum() >= 0

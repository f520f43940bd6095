from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from vidcnn.training import cache as module
from vidcnn.training.cache import FrameCache

SIZE = 3 * 8 * 8 * 10


def frames(number: int) -> npt.NDArray[np.uint8]:
    return np.full((10, 8, 8, 3), number, np.uint8)


def entries(directory: Path) -> list[Path]:
    return sorted(directory.iterdir())


def test_frames_come_back_as_they_were_in_any_process(tmp_path: Path) -> None:
    cache = FrameCache(tmp_path / "deep" / "down", 10**6, time.time())
    assert cache.get("a") is None
    assert cache.put("a", frames(7))
    for reader in (cache, FrameCache(tmp_path / "deep" / "down", 0, 0.0)):
        found = reader.get("a")
        assert found is not None
        assert np.array_equal(found, frames(7))
    assert cache.get("b") is None


def test_an_entry_is_whole_when_it_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    rename = os.rename

    def watched(source: str, target: str) -> None:
        sizes.append(os.path.getsize(source))
        rename(source, target)

    monkeypatch.setattr(os, "rename", watched)
    assert FrameCache(tmp_path, 10**6, time.time()).put("a", frames(1))
    assert sizes == [entries(tmp_path)[0].stat().st_size]


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"other"])
def test_a_damaged_entry_counts_as_none_and_is_replaced(content: bytes, tmp_path: Path) -> None:
    cache = FrameCache(tmp_path, 10**6, time.time())
    cache.put("a", frames(1))
    (entry,) = entries(tmp_path)
    entry.write_bytes(content)
    assert cache.get("a") is None
    entry.write_bytes(entry.read_bytes()[:-1])
    assert cache.get("a") is None
    assert cache.put("a", frames(2))
    found = cache.get("a")
    assert found is not None
    assert found[0, 0, 0, 0] == 2


def test_what_this_run_uses_stays_and_what_others_left_makes_room_longest_unused_first(tmp_path: Path) -> None:
    began = time.time()
    others = FrameCache(tmp_path, 10**6, 0.0)
    for number in range(4):
        others.put(f"old {number}", frames(number))
        (newest,) = (path for path in entries(tmp_path) if path.stat().st_mtime >= began - 1)
        os.utime(newest, (began - 500, began - 500 + (7, 2, 9, 4)[number]))
    cache = FrameCache(tmp_path, 4 * (SIZE + 128) + 50, began)

    def there() -> list[bool]:
        return [path.exists() for path in map(cache._path, [f"old {number}" for number in range(4)])]

    assert cache.get("old 3") is not None  # which uses it
    for number, left in enumerate(
        ([True, False, True, True], [False, False, True, True], [False, False, False, True], [False] * 3 + [True])
    ):
        assert cache.put(f"new {number}", frames(number)) == (number < 3)
        assert there() == left
    assert cache.get("new 0") is not None
    assert cache.get("new 3") is None


def test_the_bound_holds_where_others_write_at_the_same_time(tmp_path: Path) -> None:
    max_bytes = 40 * (SIZE + 128)
    caches = [FrameCache(tmp_path, max_bytes, time.time() - 100) for _ in range(8)]
    for number in range(100):
        caches[number % 8].put(f"{number}", frames(number))
    total = sum(path.stat().st_size for path in entries(tmp_path))
    assert 0.9 * max_bytes < total <= max_bytes


def test_a_full_disk_or_a_directory_that_cannot_be_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    nowhere = FrameCache(tmp_path / "file" / "cache", 10**6, time.time())
    assert not nowhere.put("a", frames(1))
    assert nowhere.get("a") is None
    cache = FrameCache(tmp_path / "cache", 10**6, time.time())

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", fail)
    assert not cache.put("a", frames(1))
    assert entries(tmp_path / "cache") == []
    monkeypatch.undo()
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: type("Usage", (), {"free": SIZE}))
    assert not cache.put("a", frames(1))


def foreign_mode(entry: Path) -> None:
    entry.chmod(0o666)


def foreign_owner(entry: Path) -> None:
    if os.geteuid():
        pytest.skip("only root can give a file to another user")
    os.chown(entry, 54321, 54321)


def behind_a_link(entry: Path) -> None:
    entry.rename(entry.with_name("elsewhere"))
    entry.symlink_to("elsewhere")


def a_pipe(entry: Path) -> None:
    entry.unlink()
    os.mkfifo(entry)


@pytest.mark.parametrize("change", [foreign_mode, foreign_owner, behind_a_link, a_pipe])
def test_an_entry_that_others_could_have_made_is_not_used_but_replaced(
    change: Callable[[Path], None], tmp_path: Path
) -> None:
    FrameCache(tmp_path, 10**6, time.time()).put("a", frames(1))
    (entry,) = entries(tmp_path)
    change(entry)
    cache = FrameCache(tmp_path, 10**6, time.time())
    assert cache.get("a") is None
    assert cache.put("a", frames(2))
    found = cache.get("a")
    assert found is not None
    assert found[0, 0, 0, 0] == 2
    assert entry.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "content", [np.zeros((10, 8, 8, 3), np.float32), np.zeros((10, 8, 8), np.uint8), np.zeros((10, 8, 8, 4), np.uint8)]
)
def test_an_entry_of_something_else_than_frames_counts_as_none(content: Any, tmp_path: Path) -> None:
    cache = FrameCache(tmp_path, 10**6, time.time())
    np.save(cache._path("a"), content)
    assert cache.get("a") is None


def test_a_header_that_claims_more_frames_than_the_file_has_takes_no_memory(tmp_path: Path) -> None:
    cache = FrameCache(tmp_path, 10**6, time.time())
    with cache._path("a").open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (10**9, 1000, 1000, 3)}
        np.lib.format.write_array_header_1_0(file, header)
        file.write(b"\0" * 3000)
    assert cache.get("a") is None


def test_files_that_are_no_entries_stay_where_they_are(tmp_path: Path) -> None:
    long_ago = time.time() - 10**6
    others = ["holiday.mp4", "a.npy", "f" * 40, ".tmp1234"]
    for name in others:
        (tmp_path / name).write_bytes(b"\0" * 10**5)
        os.utime(tmp_path / name, (long_ago, long_ago))
    (tmp_path / f"{'e' * 40}.npy").symlink_to("holiday.mp4")
    (tmp_path / ".vidcnn-left").write_bytes(b"\0" * 10**5)
    os.utime(tmp_path / ".vidcnn-left", (long_ago, long_ago))
    cache = FrameCache(tmp_path, 2 * (SIZE + 128), time.time())
    assert cache.put("a", frames(1))
    assert {path.name for path in entries(tmp_path)} == {*others, f"{'e' * 40}.npy", cache._path("a").name}


def test_a_directory_that_is_made_is_for_its_owner_alone_and_one_that_is_there_stays_as_it_is(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o775)
    for directory, mode in ((tmp_path / "new" / "frames", 0o700), (shared, 0o775)):
        FrameCache(directory, 10**6, 0.0)
        assert directory.stat().st_mode & 0o777 == mode

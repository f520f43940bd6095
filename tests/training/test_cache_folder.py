"""The folder of kept frames: whole entries, no more than is allowed, and nobody else's."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.foreign import given_away, linked, piped, written_by_all
from vidcnn.training import cache_folder as module
from vidcnn.training.cache import entry_name
from vidcnn.training.cache_folder import CacheFolder, OwnEntries

SIZE = 2000
A, B = entry_name("a"), entry_name("b")


def content(number: int) -> list[bytes]:
    return [bytes([number]) * 100] * (SIZE // 100)


def keep(folder: CacheFolder, name: str, number: int) -> bool:
    return folder.keep(name, SIZE, content(number))


def read(folder: CacheFolder | OwnEntries, name: str) -> bytes:
    with os.fdopen(folder.open(name), "rb") as file:
        return file.read()


def entries(directory: Path) -> list[Path]:
    return sorted(directory.iterdir())


def test_what_is_kept_is_there_for_all(tmp_path: Path) -> None:
    folder = CacheFolder(tmp_path / "deep" / "down", 10**6, time.time())
    with pytest.raises(FileNotFoundError):
        folder.open(A)
    assert keep(folder, A, 7)
    for reader in (folder, CacheFolder(tmp_path / "deep" / "down", 0, 0.0)):
        assert read(reader, A) == b"".join(content(7))


def test_an_entry_is_whole_when_it_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    rename = os.rename

    def watched(source: str, target: str) -> None:
        sizes.append(os.path.getsize(source))
        rename(source, target)

    monkeypatch.setattr(os, "rename", watched)
    assert keep(CacheFolder(tmp_path, 10**6, time.time()), A, 1)
    assert sizes == [SIZE]


def test_what_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    def broken_off() -> Iterator[bytes]:
        yield b"x" * 10
        raise EOFError

    with pytest.raises(EOFError):
        CacheFolder(tmp_path, 10**6, time.time()).keep(A, SIZE, broken_off())
    assert entries(tmp_path) == []


@pytest.mark.parametrize("name", ["", "a", "../" + "a" * 40, "A" * 40, "a" * 41, "a" * 40 + "\n", "a" * 39 + "/"])
def test_only_names_of_entries_are_names(name: str, tmp_path: Path) -> None:
    folder = CacheFolder(tmp_path, 10**6, time.time())
    for act in (folder.open, lambda name: keep(folder, name, 1)):
        with pytest.raises(ValueError, match="no entry of a cache"):
            act(name)


def test_what_this_run_uses_stays_and_what_others_left_makes_room_longest_unused_first(tmp_path: Path) -> None:
    began = time.time()
    others = CacheFolder(tmp_path, 10**6, 0.0)
    old = [entry_name(f"old {number}") for number in range(4)]
    for number, name in enumerate(old):
        keep(others, name, number)
        os.utime(others.path_of(name), (began - 500, began - 500 + (7, 2, 9, 4)[number]))
    folder = CacheFolder(tmp_path, 4 * SIZE + 50, began)
    os.close(folder.open(old[3]))  # which uses it
    for number, left in enumerate(
        ([True, False, True, True], [False, False, True, True], [False, False, False, True], [False] * 3 + [True])
    ):
        assert folder.has_room(SIZE) == (number < 3)
        assert keep(folder, entry_name(f"new {number}"), number) == (number < 3)
        assert [folder.path_of(name).exists() for name in old] == left
    assert folder.path_of(entry_name("new 0")).exists()
    assert not folder.path_of(entry_name("new 3")).exists()


def test_the_bound_holds_where_others_write_at_the_same_time(tmp_path: Path) -> None:
    max_bytes = 40 * SIZE
    folders = [CacheFolder(tmp_path, max_bytes, time.time() - 100) for _ in range(8)]
    for number in range(100):
        keep(folders[number % 8], entry_name(f"{number}"), number)
    total = sum(path.stat().st_size for path in entries(tmp_path))
    assert 0.9 * max_bytes < total <= max_bytes


def test_a_full_disk_or_a_folder_that_cannot_be_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    nowhere = CacheFolder(tmp_path / "file" / "cache", 10**6, time.time())
    assert not nowhere.has_room(SIZE)
    assert not keep(nowhere, A, 1)
    folder = CacheFolder(tmp_path / "cache", 10**6, time.time())

    def full() -> Iterator[bytes]:
        yield b"x"
        raise OSError(28, "No space left on device")

    assert not folder.keep(A, SIZE, full())
    assert entries(tmp_path / "cache") == []
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: type("Usage", (), {"free": SIZE}))
    assert not keep(folder, A, 1)


@pytest.mark.parametrize("change", [written_by_all, given_away, linked, piped])
def test_an_entry_that_others_could_have_made_is_not_used_but_replaced(
    change: Callable[[Path], None], tmp_path: Path
) -> None:
    folder = CacheFolder(tmp_path, 10**6, time.time())
    keep(folder, A, 1)
    change(folder.path_of(A))
    with pytest.raises(OSError, match=r"others can write|another user|symbolic link|regular file"):
        folder.open(A)
    assert keep(folder, A, 2)
    assert read(folder, A) == b"".join(content(2))
    assert folder.path_of(A).stat().st_mode & 0o777 == 0o600


def test_files_that_are_no_entries_stay_where_they_are(tmp_path: Path) -> None:
    long_ago = time.time() - 10**6
    others = ["holiday.mp4", "a.frames", "f" * 40, ".tmp1234"]
    left = [".vidcnn-left", f"{'d' * 40}.npy"]  # by a process that was killed, and by a version before this one
    for name in (*others, *left):
        (tmp_path / name).write_bytes(b"\0" * 10**5)
        os.utime(tmp_path / name, (long_ago, long_ago))
    link = f"{'e' * 40}.frames"
    (tmp_path / link).symlink_to("holiday.mp4")
    folder = CacheFolder(tmp_path, 2 * SIZE, time.time())
    assert keep(folder, A, 1)
    assert {path.name for path in entries(tmp_path)} == {*others, link, folder.path_of(A).name}


def test_a_folder_that_is_made_is_for_its_owner_alone_and_one_that_is_there_stays_as_it_is(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o775)
    for directory, mode in ((tmp_path / "new" / "frames", 0o700), (shared, 0o775)):
        CacheFolder(directory, 10**6, 0.0)
        assert directory.stat().st_mode & 0o777 == mode


def test_a_run_changes_and_reads_entries_of_its_own_videos_only(tmp_path: Path) -> None:
    folder = CacheFolder(tmp_path, 10**6, time.time())
    keep(folder, B, 1)
    asked: list[None] = []

    def names() -> frozenset[str]:
        asked.append(None)
        return frozenset([A])

    own = OwnEntries(folder, names)
    assert asked == []
    assert own.has_room(SIZE)
    assert own.keep(A, SIZE, content(3))
    assert read(own, A) == b"".join(content(3))
    for act in (own.open, lambda name: own.keep(name, SIZE, content(4))):
        with pytest.raises(PermissionError, match="another video"):
            act(B)
    assert read(folder, B) == b"".join(content(1))
    assert len(asked) == 1

from __future__ import annotations

import grp
import os
import pwd
from pathlib import Path

import pytest

from vidcnn.storage.ownership import is_own, open_regular, read_small, why_foreign

SHARED_GROUP = 54321


def status(uid: int, mode: int, gid: int = SHARED_GROUP) -> os.stat_result:
    return os.stat_result((mode, 1, 1, 1, uid, gid, 0, 0, 0, 0))


def test_a_regular_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"content")
    with open_regular(tmp_path / "a") as file:
        assert file.read() == b"content"
    assert read_small(tmp_path / "a", 7) == b"content"
    with pytest.raises(OSError, match="larger than 6 bytes"):
        read_small(tmp_path / "a", 6)


def test_a_link_is_followed_only_where_it_may_be_one(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"content")
    (tmp_path / "link").symlink_to("a")
    with pytest.raises(OSError, match="symbolic link"):
        open_regular(tmp_path / "link")
    with open_regular(tmp_path / "link", follow_links=True) as file:
        assert file.read() == b"content"


def test_neither_a_pipe_nor_a_device_nor_a_folder_is_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "pipe", tmp_path / "folder", Path("/dev/zero")):
        before = len(os.listdir("/proc/self/fd"))
        with pytest.raises(OSError, match="not a regular file"):
            open_regular(path, follow_links=True)
        assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("uid", [0, os.geteuid()])
def test_only_this_user_and_root_are_trusted(uid: int) -> None:
    assert why_foreign(status(uid, 0o100644)) is None
    assert why_foreign(status(uid, 0o040755)) is None
    assert why_foreign(status(uid, 0o041777)) is None
    for mode in (0o100664, 0o100646, 0o040775, 0o101777):
        assert "others can write" in (why_foreign(status(uid, mode)) or "")
    assert why_foreign(status(54321, 0o100600)) == "it belongs to another user (uid 54321)"


@pytest.mark.parametrize(
    ("name", "members", "is_trusted"),
    [("me", [], True), ("me", ["me"], True), ("me", ["her"], False), ("us", [], False)],
)
def test_a_group_that_has_only_this_user_may_write(
    monkeypatch: pytest.MonkeyPatch, name: str, members: list[str], is_trusted: bool
) -> None:
    user = pwd.struct_passwd(("me", "x", os.geteuid(), 777, "", "/", "/bin/sh"))
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: user)
    monkeypatch.setattr(grp, "getgrgid", lambda gid: grp.struct_group((name, "x", gid, members)))
    assert (why_foreign(status(os.geteuid(), 0o100664, gid=777)) is None) == is_trusted
    assert why_foreign(status(os.geteuid(), 0o100666, gid=777)) is not None
    assert why_foreign(status(os.geteuid(), 0o100664, gid=778)) is not None


def test_only_regular_files_of_this_user_may_be_removed() -> None:
    assert is_own(status(os.geteuid(), 0o100644))
    assert not is_own(status(os.geteuid(), 0o040755))
    assert not is_own(status(os.geteuid() + 1, 0o100644))

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from vidcnn.storage.private import make_private

NOBODY = 65534


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(params=[0o000, 0o022, 0o277])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.mark.usefixtures("umask")
def test_a_folder_and_those_above_it_that_are_missing_are_for_their_owner_alone(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    make_private(tmp_path / "a" / "b")
    assert mode(tmp_path / "a" / "b") == mode(tmp_path / "a") == 0o700
    assert mode(tmp_path) == 0o755


def test_a_folder_that_is_open_is_closed_and_what_is_in_it_stays(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    folder.mkdir()
    folder.chmod(0o777)
    (folder / "kept").write_text("kept")
    make_private(folder)
    assert mode(folder) == 0o700
    assert (folder / "kept").read_text() == "kept"


def test_a_link_is_refused_and_what_it_leads_to_stays_as_it_is(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    elsewhere.chmod(0o755)
    (tmp_path / "cache").symlink_to(elsewhere)
    with pytest.raises(OSError, match="it is a symbolic link"):
        make_private(tmp_path / "cache")
    assert mode(elsewhere) == 0o755
    (tmp_path / "dangling").symlink_to(tmp_path / "none")
    with pytest.raises(OSError, match="it is a symbolic link"):
        make_private(tmp_path / "dangling")
    assert not (tmp_path / "none").exists()


def test_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("")
    with pytest.raises(NotADirectoryError):
        make_private(tmp_path / "cache")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder to somebody else")
def test_the_folder_of_another_user_is_refused_and_stays_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    folder.mkdir()
    folder.chmod(0o777)
    os.chown(folder, NOBODY, NOBODY)
    with pytest.raises(PermissionError, match="it belongs to another user"):
        make_private(folder)
    assert mode(folder) == 0o777

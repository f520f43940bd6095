from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from vidcnn.storage.scratch import scratch_directory

MAKE_AND_WAIT = """
import sys, time
from pathlib import Path
from vidcnn.storage.scratch import scratch_directory
with scratch_directory("x-", Path(sys.argv[1])) as directory:
    print(directory, flush=True)
    time.sleep(60)
"""


def test_a_directory_goes_away_with_the_block(tmp_path: Path) -> None:
    with scratch_directory("x-", tmp_path) as directory:
        (directory / "deep").mkdir()
        (directory / "deep" / "file").write_text("content")
        assert directory.parent == tmp_path
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_uses_is_not(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", MAKE_AND_WAIT, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    theirs = Path(process.stdout.readline().strip())
    with scratch_directory("x-", tmp_path):
        assert theirs.is_dir()
    process.kill()
    process.communicate()
    assert theirs.is_dir()
    with scratch_directory("x-", tmp_path) as mine:
        assert list(tmp_path.iterdir()) == [mine]


def test_directories_that_are_not_ours_stay(tmp_path: Path) -> None:
    (tmp_path / "x-strange").mkdir()
    (tmp_path / "other").mkdir()
    with scratch_directory("x-", tmp_path):
        pass
    assert {path.name for path in tmp_path.iterdir()} == {"x-strange", "other"}


def test_what_is_made_is_for_its_owner_alone_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with scratch_directory("x-", tmp_path) as directory:
            assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    finally:
        os.umask(before)


def test_what_others_put_under_its_names_neither_stops_it_nor_is_taken_for_its_own(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "owner").write_text("of another program")
    (tmp_path / "x-link").symlink_to(mine)
    (tmp_path / "x-file").write_text("")
    (tmp_path / "x-linked-owner").mkdir()
    (tmp_path / "x-linked-owner" / "owner").symlink_to(mine / "owner")
    (tmp_path / "x-pipe").mkdir()
    os.mkfifo(tmp_path / "x-pipe" / "owner")  # to open it waits for a writer that never comes
    before = {path: sorted(path.iterdir()) for path in tmp_path.iterdir() if path.is_dir()}
    ended: list[Path] = []
    with scratch_directory("x-", tmp_path, end_users=ended.append):
        pass
    assert ended == []
    assert {path: sorted(path.iterdir()) for path in tmp_path.iterdir() if path.is_dir()} == before


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder to somebody else")
def test_a_folder_of_another_user_is_not_removed_though_a_file_of_ours_is_in_it(tmp_path: Path) -> None:
    theirs = tmp_path / "x-theirs"
    theirs.mkdir()
    (theirs / "owner").write_text("")
    os.chown(theirs, 65534, 65534)
    with scratch_directory("x-", tmp_path):
        pass
    assert (theirs / "owner").exists()

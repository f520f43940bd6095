from __future__ import annotations

import subprocess
import sys
from pathlib import Path

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

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest

from tests.power import WHIMS, Recorder
from vidcnn.storage.atomic import make_directories, write_whole


def test_a_file_is_replaced_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_whole(path, b"first")

    def fail(file: Any) -> None:
        file.write(b"second")
        raise OSError(errno.ENOSPC, "full")

    with pytest.raises(OSError, match="full"):
        write_whole(path, fail)
    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]
    write_whole(path, b"third")
    assert path.read_bytes() == b"third"


def test_what_was_written_in_new_directories_stays_when_the_power_fails(tmp_path: Path) -> None:
    recorder = Recorder(str(tmp_path))
    with recorder.recording():
        make_directories(tmp_path / "a" / "b" / "c")
        make_directories(tmp_path / "a" / "b" / "c")  # nothing happens
        write_whole(tmp_path / "a" / "b" / "c" / "file", b"content")
    for whim in WHIMS:
        recorder.leave(len(recorder.events), whim, tmp_path / whim)
        assert (tmp_path / whim / "a" / "b" / "c" / "file").read_bytes() == b"content"


def test_a_directory_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        make_directories(tmp_path / "file" / "below")

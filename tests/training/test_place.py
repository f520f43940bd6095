from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from vidcnn.errors import OutputBusyError, OutputError
from vidcnn.predictions.holder import this_process
from vidcnn.training.place import hold_run


def test_two_names_of_a_run_directory_meet_in_one_lock(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "disk")
    with hold_run(str(tmp_path / "run")) as place:
        assert place.directory == tmp_path / "disk"
        with pytest.raises(OutputBusyError), hold_run(str(tmp_path / "disk")):
            pass


def test_a_lock_in_a_run_directory_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    run, precious = tmp_path / "run", tmp_path / "precious"
    run.mkdir()
    precious.write_text("precious")
    (run / "lock").symlink_to(precious)
    with pytest.raises(OutputError, match="lock is a link to something else"), hold_run(str(run)):
        pass
    assert precious.read_text() == "precious"


def test_a_run_directory_is_not_locked_for_ever_by_a_date_in_the_future(tmp_path: Path) -> None:
    other = replace(this_process("held"), host="other", machine="another")
    (tmp_path / "lock").write_bytes(other.encode())
    os.utime(tmp_path / "lock", (time.time() + 1e6,) * 2)
    with pytest.raises(OutputBusyError), hold_run(str(tmp_path)):
        pass
    assert abs((tmp_path / "lock").stat().st_mtime - time.time()) < 60
    os.utime(tmp_path / "lock", (time.time() - 100,) * 2)
    with hold_run(str(tmp_path)):
        pass

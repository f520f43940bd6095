from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.s3 import Server
from vidcnn.errors import OutputBusyError, OutputError
from vidcnn.storage.locks.holder import this_process
from vidcnn.training.run_directory import hold_run


def test_two_names_of_a_run_directory_meet_in_one_lock(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "disk")
    with hold_run(str(tmp_path / "run")) as place:
        assert place.directory == tmp_path / "disk"
        with pytest.raises(OutputBusyError), hold_run(str(tmp_path / "disk")):
            pass


def test_a_run_directory_whose_path_is_not_utf8_is_refused_before_it_is_made(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="not UTF-8"), hold_run(f"{tmp_path}/run\udce9/x"):
        pass
    assert list(tmp_path.iterdir()) == []


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


def enter(out: str) -> None:
    with hold_run(out):
        pass


def test_a_directory_is_made_and_held_and_given_back(tmp_path: Path) -> None:
    out = str(tmp_path / "deep" / "run")
    with hold_run(out) as place:
        assert (place.directory, place.shown) == (Path(out), out)
        (place.directory / "run.json").touch()
        place.check()
        place.pull()  # a directory here is nobody's copy
        place.push()
        with pytest.raises(OutputBusyError, match="is held by another run"):
            enter(out)
    enter(out)
    assert [path.name for path in Path(out).iterdir()] == ["run.json"]


def test_a_directory_that_was_lost_is_told(tmp_path: Path) -> None:
    with hold_run(str(tmp_path / "run")) as place:
        (place.directory / "lock").unlink()
        with pytest.raises(OutputError, match="was lost"):
            place.check()


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"cannot write to '.*file/run'"):
        enter(str(tmp_path / "file" / "run"))


def test_a_run_in_object_storage_has_a_copy_here_that_goes_away(s3: Server) -> None:
    out = f"s3://bkt/runs/one{s3.query}"
    with hold_run(out) as place:
        assert place.shown == "s3://bkt/runs/one"
        (place.directory / "run.json").write_text("{}")
        place.push()
        copy = place.directory
    assert not copy.exists()
    with hold_run(out) as place:
        assert (place.directory / "run.json").read_text() == "{}"
        with pytest.raises(OutputBusyError, match="s3://bkt/runs/one is held by another run"):
            enter(out)


def test_a_bucket_is_no_run_directory(s3: Server) -> None:
    with pytest.raises(OutputError, match="s3://bkt names a bucket"):
        enter(f"s3://bkt{s3.query}")

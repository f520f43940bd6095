from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from tests.faulty_s3 import FaultyServer
from tests.faulty_s3 import faulty as faulty_storage
from tests.s3 import Server
from vidcnn.errors import OutputBusyError, OutputError, StorageError
from vidcnn.storage import patience
from vidcnn.storage.retrying import RetryPolicy
from vidcnn.storage.uris import open_filesystem
from vidcnn.storage.versions import VersionedStore
from vidcnn.training.mirror import Mirror, working_copy
from vidcnn.training.run_directory import hold_run
from vidcnn.training.state import RunSettings


def location(s3: Server) -> str:
    return f"s3://bkt/runs/one{s3.query}"


def copy(tmp_path: Path, name: str) -> Path:
    folder = tmp_path / name
    folder.mkdir()
    return folder


def write(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def files(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_a_copy_is_sent_and_fetched_as_it_is(s3: Server, tmp_path: Path) -> None:
    here, there = copy(tmp_path, "here"), copy(tmp_path, "there")
    mirror = Mirror(location(s3), here)
    mirror.pull()
    assert files(here) == {}
    write(here, "run.json", "{}")
    write(here, "checkpoints/step_1.pt", "one")
    write(here, "checkpoints/.step_2.pt.part", "half")
    mirror.push()
    write(here, "checkpoints/step_2.json", "2")
    os.unlink(here / "checkpoints" / "step_1.pt")
    write(here, "run.json", "[1]")
    mirror.push()
    write(there, "checkpoints/step_0.pt", "of another run")
    Mirror(location(s3), there).pull()
    assert files(there) == {"run.json": "[1]", "checkpoints/step_2.json": "2"}


def test_notes_are_there_before_the_checkpoint_that_they_belong_to(
    s3: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = copy(tmp_path, "here")
    write(here, "checkpoints/step_1.pt", "one")
    write(here, "metrics.jsonl", "notes")
    mirror = Mirror(location(s3), here)
    sent: list[str] = []
    plain = mirror._store.put

    def record(path: str, content: bytes | memoryview, expected: str | None) -> str:
        sent.append(path.rpartition("/")[2])
        return plain(path, content, expected)

    monkeypatch.setattr(mirror._store, "put", record)
    mirror.push()
    assert sent == ["metrics.jsonl", "step_1.pt"]
    mirror.push()
    assert len(sent) == 2  # what has not changed is not sent again


def test_changes_are_sent_while_the_work_goes_on_and_at_its_end_even_if_it_fails(s3: Server, tmp_path: Path) -> None:
    here = copy(tmp_path, "here")
    mirror = Mirror(location(s3), here)
    filesystem, root = open_filesystem(location(s3))
    with pytest.raises(ZeroDivisionError), mirror.kept(interval_seconds=0.05):  # noqa: PT012
        write(here, "metrics.jsonl", "first")
        deadline = time.monotonic() + 30
        while not filesystem.get_file_info(f"{root}/metrics.jsonl").is_file:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        write(here, "last", "word")
        raise ZeroDivisionError
    assert filesystem.get_file_info(f"{root}/last").is_file


def test_storage_that_does_not_take_it_is_named(s3: Server, tmp_path: Path) -> None:
    here = copy(tmp_path, "here")
    write(here, "run.json", "{}")
    with pytest.raises(OutputError, match="the run directory 's3://nobody/run'"):
        Mirror(f"s3://nobody/run{s3.query}", here).push()


def test_only_the_first_worker_writes(s3: Server, tmp_path: Path) -> None:
    settings = RunSettings(tmp_path, 1, 1, 1.0, 1, location(s3))
    with working_copy(settings, writes=True) as first:
        write(first.run.directory, "run.json", "{}")
    with working_copy(settings, writes=False) as second:
        assert second.run.directory not in (first.run.directory, tmp_path)
        assert files(second.run.directory) == {"run.json": "{}"}
        write(second.run.directory, "of_mine", "?")
    with working_copy(settings, writes=False) as third:
        assert files(third.run.directory) == {"run.json": "{}"}
    assert not first.run.directory.exists()


def test_a_run_in_object_storage_is_held_by_one_at_a_time(s3: Server) -> None:
    with hold_run(location(s3)) as place:
        assert place.shown == "s3://bkt/runs/one"
        with pytest.raises(OutputBusyError, match="s3://bkt/runs/one is held by another run"), hold_run(location(s3)):
            pass
    with hold_run(location(s3)):
        pass


@pytest.fixture
def faulty(s3: Server) -> Iterator[FaultyServer]:
    with faulty_storage(s3) as storage:
        yield storage


def test_storage_that_fails_for_a_while_is_waited_for(
    faulty: FaultyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = copy(tmp_path, "here"), copy(tmp_path, "there")
    (here / "checkpoints").mkdir()
    torch.save({"weights": torch.arange(1000)}, here / "checkpoints" / "step_00000007.pt")
    mirror = Mirror(faulty.location("bkt/runs/one"), here)

    monkeypatch.setattr(patience, "USUAL", RetryPolicy(num_tries=4, first_wait_seconds=0.01))
    faulty.fail("refuses", times=2)
    mirror.push()
    assert faulty.num_faults == 2
    faulty.fail("refuses", times=2)
    assert mirror.checkpoints() == ["step_00000007.pt"]
    assert faulty.num_faults == 2
    faulty.fail("short", times=2)
    Mirror(faulty.location("bkt/runs/one"), there).pull()
    assert faulty.num_faults
    name = "checkpoints/step_00000007.pt"
    assert (there / name).read_bytes() == (here / name).read_bytes()


def test_a_checkpoint_that_lies_there_damaged_is_left_to_whoever_reads_it(
    s3: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "USUAL", RetryPolicy(num_tries=2, first_wait_seconds=0.01))
    s3.put("runs/one/checkpoints/step_1.pt", "runs/one/metrics.jsonl", body=b"no archive")
    there = copy(tmp_path, "there")
    Mirror(location(s3), there).pull()
    assert files(there) == {"checkpoints/step_1.pt": "no archive", "metrics.jsonl": "no archive"}


def test_storage_that_goes_on_failing_ends_the_run_and_nobody_is_told_to_delete_anything(
    faulty: FaultyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "USUAL", RetryPolicy(num_tries=2, first_wait_seconds=0.01))
    here = copy(tmp_path, "here")
    write(here, "run.json", "{}")
    mirror = Mirror(faulty.location("bkt/runs/one"), here)
    mirror.push()
    write(here, "more", "of it")
    faulty.fail("refuses")
    for act in (mirror.push, mirror.pull, mirror.checkpoints):
        with pytest.raises(StorageError, match=r"the run directory 's3://bkt/runs/one' cannot be read") as caught:
            act()
        assert caught.value.hint.startswith("the same command continues")


def test_a_run_whose_work_reaches_its_directory_no_more_is_cut_off_until_it_does_again(
    faulty: FaultyServer, tmp_path: Path
) -> None:
    here = copy(tmp_path, "here")
    mirror = Mirror(faulty.location("bkt/runs/one"), here)
    write(here, "metrics.jsonl", "first")
    with mirror.kept(interval_seconds=0.05):
        assert not mirror.is_cut_off()
        faulty.fail("refuses")
        wait_until(lambda: mirror.is_cut_off(max_seconds=0.5))
        faulty.fail("none")
        wait_until(lambda: not mirror.is_cut_off(max_seconds=0.5))


def wait_until(happens: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not happens():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_worker_that_stood_still_changes_nothing_in_a_run_directory_that_another_run_has(
    s3: Server, tmp_path: Path
) -> None:
    here = copy(tmp_path, "here")
    store, root = VersionedStore.open(location(s3))
    store.put("bkt/runs/.one.vidcnn/lock-mine", b"held", None)
    mirror = Mirror(location(s3), here, "bkt/runs/.one.vidcnn/lock-mine")
    for name in ("metrics.jsonl", "checkpoints/step_1.pt"):
        write(here, name, "mine")
    mirror.push()
    write(here, "metrics.jsonl", "late")
    os.unlink(here / "checkpoints" / "step_1.pt")
    store.delete("bkt/runs/.one.vidcnn/lock-mine")
    with pytest.raises(OutputError, match="the lock on the run directory 's3://bkt/runs/one' was lost"):
        mirror.push()
    assert mirror.is_cut_off()
    assert read(store, f"{root}/metrics.jsonl") == b"mine"
    assert read(store, f"{root}/checkpoints/step_1.pt") == b"mine"


def test_what_a_worker_sends_late_does_not_replace_what_another_run_has_sent(
    s3: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = copy(tmp_path, "here")
    store, root = VersionedStore.open(location(s3))
    store.put("bkt/runs/.one.vidcnn/lock-mine", b"held", None)
    mirror = Mirror(location(s3), here, "bkt/runs/.one.vidcnn/lock-mine")
    write(here, "metrics.jsonl", "mine")
    mirror.push()
    write(here, "metrics.jsonl", "late")
    check = mirror._check

    def check_and_stand_still() -> None:
        check()
        store.delete("bkt/runs/.one.vidcnn/lock-mine")
        store.put(f"{root}/metrics.jsonl", b"of another run", store.version(f"{root}/metrics.jsonl"))

    monkeypatch.setattr(mirror, "_check", check_and_stand_still)
    with pytest.raises(OutputError, match="was lost"):
        mirror.push()
    assert read(store, f"{root}/metrics.jsonl") == b"of another run"


def test_workers_write_for_as_long_as_the_command_holds_the_run_directory(s3: Server, tmp_path: Path) -> None:
    with hold_run(location(s3)) as place:
        settings = RunSettings(tmp_path, 1, 1, 1.0, 1, location(s3), place.lease)
        with working_copy(settings, writes=True) as first:
            write(first.run.directory, "run.json", "{}")
            assert not first.is_cut_off()
        place.pull()
        assert files(place.directory) == {"run.json": "{}"}
    with pytest.raises(OutputError, match="was lost"), working_copy(settings, writes=True) as late:
        write(late.run.directory, "late", "?")
    store, root = VersionedStore.open(location(s3))
    assert store.version(f"{root}/late") is None


def read(store: VersionedStore, path: str) -> bytes:
    return bytes(store.filesystem.open_input_file(path).read())

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from vidcnn.errors import OutputBusyError, OutputError
from vidcnn.storage.locks.file_lock import FileLock, look
from vidcnn.storage.locks.heartbeat import LeaseTiming
from vidcnn.storage.locks.holder import this_process

HOLDER = """
import sys, time
from vidcnn.storage.locks.file_lock import FileLock
lock = FileLock.acquire(sys.argv[1], 'out')
{}
"""
QUICK = LeaseTiming(renew_seconds=0.1, dead_seconds=2)


def acquire(directory: Path | str, timing: LeaseTiming = QUICK) -> FileLock:
    return FileLock.acquire(str(directory), "preds", timing)


def test_a_lock_excludes_until_it_is_released_and_leaves_nothing(tmp_path: Path) -> None:
    directory = tmp_path / "new" / "lock"
    lock = acquire(directory)
    lock.check()
    with pytest.raises(OutputBusyError, match=rf"preds is held .*process {os.getpid()} on \S+ since 20") as raised:
        acquire(directory)
    assert raised.value.exit_code == 75
    lock.release()
    assert not directory.exists()
    lock.release()
    acquire(directory).release()


def test_what_else_is_in_the_directory_stays(tmp_path: Path) -> None:
    (tmp_path / "part").touch()
    acquire(tmp_path).release()
    assert [path.name for path in tmp_path.iterdir()] == ["part"]


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    code = HOLDER.format("print('held', flush=True); time.sleep(60)")
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(OutputBusyError, match=f"process {holder.pid} on"):
            acquire(tmp_path)
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        acquire(tmp_path).release()


def test_a_program_started_by_the_holder_does_not_keep_the_lock(tmp_path: Path) -> None:
    code = HOLDER.format("import subprocess; print(subprocess.Popen(['sleep', '60'], stdout=2, close_fds=False).pid)")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    try:
        acquire(tmp_path).release()
    finally:
        os.kill(int(done.stdout), signal.SIGKILL)


def test_an_unwritten_lock_file_is_of_a_run_that_has_just_begun(tmp_path: Path) -> None:
    lock = acquire(tmp_path)
    os.truncate(tmp_path / "lock", 0)
    with pytest.raises(OutputBusyError, match="which has just begun"):
        acquire(tmp_path)
    lock.release()


def test_a_holder_that_names_itself_a_moment_after_it_locks_is_named(tmp_path: Path) -> None:
    lock = acquire(tmp_path)
    named = (tmp_path / "lock").read_bytes()
    os.truncate(tmp_path / "lock", 0)
    naming = threading.Timer(0.2, (tmp_path / "lock").write_bytes, [named])
    naming.start()
    with pytest.raises(OutputBusyError, match=f"process {os.getpid()} on"):
        acquire(tmp_path)
    naming.join()
    lock.release()


def test_a_lock_on_a_file_that_its_last_holder_has_removed_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "lock"
    flock, first, second = fcntl.flock, acquire(directory), []

    def late(lock: int, operation: int) -> None:
        if not second:  # between opening the file and locking it, its holder goes and another comes
            second.append(None)
            first.release()
            second[0] = acquire(directory)
        flock(lock, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    with pytest.raises(OutputBusyError):
        acquire(directory)
    second[0].release()


def test_two_never_hold_the_lock_though_each_holder_removes_the_file(tmp_path: Path) -> None:
    directory = tmp_path / "lock"
    inside = threading.Lock()
    errors, num_held = [], [0]

    def contend() -> None:
        while num_held[0] < 300 and not errors:
            try:
                lock = acquire(directory)
            except OutputBusyError:
                continue
            if not inside.acquire(blocking=False):
                errors.append("two hold the lock")
                return
            num_held[0] += 1
            inside.release()
            lock.release()

    threads = [threading.Thread(target=contend) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert not directory.exists()


# Machines that share a file system whose locks reach no further than each of them


def leave(directory: Path, *, machine: str | None, age_seconds: float) -> None:
    """Leave a lock file as the holder on some machine has it; no kernel knows of a lock on it."""
    holder = replace(this_process("held"), host="other", machine=machine, token="theirs")
    path = directory / "lock"
    path.write_bytes(holder.encode())
    os.utime(path, (time.time() - age_seconds, time.time() - age_seconds))


def test_a_holder_on_another_machine_that_touched_its_file_lately_keeps_others_out(tmp_path: Path) -> None:
    leave(tmp_path, machine="another", age_seconds=1)
    with pytest.raises(OutputBusyError, match=r"held by another run .* on other since") as raised:
        acquire(tmp_path)
    assert "free 2 s after that" in raised.value.hint
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]
    assert b"theirs" in (tmp_path / "lock").read_bytes()


def test_asking_again_and_again_does_not_keep_a_dead_holder_alive(tmp_path: Path) -> None:
    leave(tmp_path, machine="another", age_seconds=0)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            acquire(tmp_path).release()
            break
        except OutputBusyError:
            time.sleep(0.2)
    else:
        pytest.fail("the lock never became free")


@pytest.mark.parametrize(("machine", "age_seconds"), [("another", 3), (this_process("held").machine, 0)])
def test_a_file_that_a_crash_left_keeps_nobody_out(tmp_path: Path, machine: str | None, age_seconds: float) -> None:
    leave(tmp_path, machine=machine, age_seconds=age_seconds)
    lock = acquire(tmp_path)
    lock.check()
    lock.release()
    assert not tmp_path.exists()


def test_a_file_of_something_else_keeps_nobody_out(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text('{"pid": 3}')
    acquire(tmp_path).release()


def test_a_holder_shows_that_it_lives(tmp_path: Path) -> None:
    lock = acquire(tmp_path)
    os.utime(tmp_path / "lock", (1, 1))
    deadline = time.monotonic() + 10
    while (tmp_path / "lock").stat().st_mtime < 1e9 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert time.time() - (tmp_path / "lock").stat().st_mtime < 60
    lock.release()


def test_a_holder_whose_lock_another_took_stops_and_leaves_it_to_the_other(tmp_path: Path) -> None:
    lock = acquire(tmp_path)
    leave(tmp_path, machine="another", age_seconds=0)
    with pytest.raises(OutputBusyError, match=r"the lock on preds was lost to another run .* on other since"):
        lock.check()
    lock.release()
    assert b"theirs" in (tmp_path / "lock").read_bytes()


def test_a_holder_whose_lock_file_was_removed_stops(tmp_path: Path) -> None:
    lock = acquire(tmp_path / "hidden")
    (tmp_path / "hidden" / "lock").unlink()
    with pytest.raises(OutputError, match=r"the lock on preds was lost: .*/hidden/lock was removed or overwritten"):
        lock.check()
    lock.release()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["link", "hard link", "link to nothing", "pipe"])
def test_a_lock_file_that_leads_to_something_else_is_not_followed(tmp_path: Path, kind: str) -> None:
    directory, precious = tmp_path / "hidden", tmp_path / "precious"
    directory.mkdir()
    if kind != "link to nothing":
        precious.write_text("precious")
    if kind == "hard link":
        os.link(precious, directory / "lock")
    elif kind == "pipe":
        os.mkfifo(directory / "lock")
    else:
        (directory / "lock").symlink_to(precious)
    for take in (acquire, look_at):
        with pytest.raises(OutputError, match=r"lock is (a link to something else|not a lock that vidcnn made)"):
            take(directory)
    assert (precious.read_text() if precious.exists() else None) == (None if kind == "link to nothing" else "precious")


def test_a_directory_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "hidden").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OutputError, match="hidden is a link to something else"):
        acquire(tmp_path / "hidden")
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_lock_of_another_machine_that_is_dated_in_the_future_does_not_hold_for_ever(tmp_path: Path) -> None:
    other = replace(this_process("held"), host="other", machine="another")
    (tmp_path / "lock").write_bytes(other.encode())
    os.utime(tmp_path / "lock", (time.time() + 1e6,) * 2)
    with pytest.raises(OutputBusyError, match="on other"):  # it may live, and have a clock that runs ahead
        acquire(tmp_path)
    assert abs((tmp_path / "lock").stat().st_mtime - time.time()) < 60
    deadline = time.monotonic() + 60
    while True:
        try:
            acquire(tmp_path).release()
            break
        except OutputBusyError:
            assert time.monotonic() < deadline
            time.sleep(0.1)


def test_a_holder_whose_clock_runs_ahead_keeps_its_lock(tmp_path: Path) -> None:
    other = replace(this_process("held"), host="other", machine="another")
    (tmp_path / "lock").write_bytes(other.encode())
    for _ in range(3):
        os.utime(tmp_path / "lock", (time.time() + 1e6,) * 2)
        with pytest.raises(OutputBusyError):
            acquire(tmp_path)
        time.sleep(QUICK.dead_seconds / 2)


def look_at(directory: Path | str) -> None:
    look(str(directory), "preds", QUICK)


def test_looking_at_a_lock_tells_whether_it_is_held_and_changes_nothing(tmp_path: Path) -> None:
    look_at(tmp_path / "nowhere")
    assert list(tmp_path.iterdir()) == []
    lock = acquire(tmp_path / "hidden")
    with pytest.raises(OutputBusyError, match=f"process {os.getpid()} on"):
        look_at(tmp_path / "hidden")
    content = (tmp_path / "hidden" / "lock").read_bytes()
    lock.check()
    lock.release()
    (tmp_path / "hidden").mkdir()
    ended = replace(this_process("held"), started=1)
    (tmp_path / "hidden" / "lock").write_bytes(ended.encode())
    look_at(tmp_path / "hidden")  # left by a run that was killed
    other = replace(this_process("held"), host="other", machine="another")
    (tmp_path / "hidden" / "lock").write_bytes(other.encode())
    with pytest.raises(OutputBusyError, match="on other"):
        look_at(tmp_path / "hidden")
    os.utime(tmp_path / "hidden" / "lock", (1, 1))
    look_at(tmp_path / "hidden")
    assert content

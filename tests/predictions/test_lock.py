from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from vidcnn.errors import OutputBusyError
from vidcnn.predictions.lock import acquire, release

HOLDER = "import sys, time; from vidcnn.predictions.lock import acquire; acquire(sys.argv[1], 'out'); {}"


def test_a_lock_excludes_until_it_is_released_and_leaves_nothing(tmp_path: Path) -> None:
    directory = str(tmp_path / "new" / "lock")
    lock = acquire(directory, "preds")
    with pytest.raises(OutputBusyError, match=rf"preds is held .*process {os.getpid()} on \S+ since 20") as raised:
        acquire(directory, "preds")
    assert raised.value.exit_code == 75
    release(directory, lock)
    assert not Path(directory).exists()
    release(directory, acquire(directory, "preds"))


def test_what_else_is_in_the_directory_stays(tmp_path: Path) -> None:
    (tmp_path / "part").touch()
    release(str(tmp_path), acquire(str(tmp_path), "preds"))
    assert [path.name for path in tmp_path.iterdir()] == ["part"]


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    code = HOLDER.format("print('held', flush=True); time.sleep(60)")
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(OutputBusyError, match=f"process {holder.pid} on"):
            acquire(str(tmp_path), "preds")
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        release(str(tmp_path), acquire(str(tmp_path), "preds"))


def test_a_program_started_by_the_holder_does_not_keep_the_lock(tmp_path: Path) -> None:
    code = HOLDER.format("import subprocess; print(subprocess.Popen(['sleep', '60'], stdout=2, close_fds=False).pid)")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    try:
        release(str(tmp_path), acquire(str(tmp_path), "preds"))
    finally:
        os.kill(int(done.stdout), signal.SIGKILL)


def test_an_unwritten_lock_file_is_of_a_run_that_has_just_begun(tmp_path: Path) -> None:
    lock = acquire(str(tmp_path), "preds")
    os.truncate(tmp_path / "lock", 0)
    with pytest.raises(OutputBusyError, match="which has just begun"):
        acquire(str(tmp_path), "preds")
    release(str(tmp_path), lock)


def test_a_lock_on_a_file_that_its_last_holder_has_removed_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = str(tmp_path / "lock")
    flock, first, second = fcntl.flock, acquire(directory, "preds"), []

    def late(lock: int, operation: int) -> None:
        if not second:  # between opening the file and locking it, its holder goes and another comes
            second.append(None)
            release(directory, first)
            second[0] = acquire(directory, "preds")
        flock(lock, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    with pytest.raises(OutputBusyError):
        acquire(directory, "preds")
    release(directory, second[0])


def test_two_never_hold_the_lock_though_each_holder_removes_the_file(tmp_path: Path) -> None:
    directory = str(tmp_path / "lock")
    inside = threading.Lock()
    errors, num_held = [], [0]

    def contend() -> None:
        while num_held[0] < 300 and not errors:
            try:
                lock = acquire(directory, "preds")
            except OutputBusyError:
                continue
            if not inside.acquire(blocking=False):
                errors.append("two hold the lock")
                return
            num_held[0] += 1
            inside.release()
            release(directory, lock)

    threads = [threading.Thread(target=contend) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert not Path(directory).exists()

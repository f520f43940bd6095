from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vidcnn.cluster.watch import MARK, Watch, find_servers
from vidcnn.errors import RayDiedError, VidcnnError
from vidcnn.interrupts import interruptible
from vidcnn.processes import processes_with

SLEEP = [sys.executable, "-c", "input()"]


def test_the_main_thread_is_told_at_once_and_what_is_left_is_buried() -> None:
    buried: list[bool] = []
    began = time.monotonic()

    def run() -> None:
        with (
            subprocess.Popen(SLEEP, stdin=subprocess.PIPE) as child,
            interruptible("it stays"),
            Watch(lambda: {child.pid: "raylet"}, lambda: buried.append(True)) as watch,
        ):
            watch.has_started()
            child.kill()
            time.sleep(60)

    with pytest.raises(RayDiedError, match=r"Ray's raylet on this machine died \(killed by signal 9") as caught:
        run()
    assert time.monotonic() - began < 30
    assert caught.value.hint == "it stays"
    assert buried == [True]


def test_an_error_that_comes_of_the_death_gives_way_to_it_and_no_second_one_disturbs_the_commit() -> None:
    committed: list[bool] = []

    def run() -> None:
        with (
            subprocess.Popen(SLEEP, stdin=subprocess.PIPE) as child,
            interruptible("it stays"),
            Watch(lambda: {child.pid: "GCS"}, lambda: None) as watch,
        ):
            watch.has_started()
            try:
                child.kill()
                while watch.look() is None:
                    time.sleep(0.001)
                raise VidcnnError("Ray gave up")
            except VidcnnError:
                time.sleep(1)  # longer than it takes to see the death
                committed.append(True)
                raise

    with pytest.raises(RayDiedError, match=r"Ray's GCS on this machine died \(killed by signal 9"):
        run()
    assert committed == [True]


def test_a_death_after_the_end_is_nobodys_business() -> None:
    with subprocess.Popen(SLEEP, stdin=subprocess.PIPE) as child, interruptible("it stays"):
        with Watch(lambda: {child.pid: "raylet"}, lambda: None) as watch:
            watch.has_started()
        child.kill()
        child.wait()
        time.sleep(0.5)
        with pytest.raises(ValueError, match="another"), Watch(dict, lambda: None):
            raise ValueError("another")


def test_a_child_that_a_server_has_just_forked_is_no_server(tmp_path: Path) -> None:
    # A copy of the shell, which forks and does not become another program: opening a pipe waits for a writer.
    program, fifo = tmp_path / "raylet", tmp_path / "fifo"
    shutil.copy(str(shutil.which("sh")), program)
    os.mkfifo(fifo)
    line = [str(program), "-c", '(read line < "$0") & wait', str(fifo)]
    with subprocess.Popen(line, env={MARK: str(tmp_path)}) as server:
        try:
            deadline = time.monotonic() + 20
            while len(processes_with(MARK, str(tmp_path))) < 2:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            assert find_servers(str(tmp_path)) == {server.pid: "raylet"}
        finally:
            for process in processes_with(MARK, str(tmp_path)):
                os.kill(process.pid, signal.SIGKILL)

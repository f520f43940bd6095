from __future__ import annotations

import subprocess
import sys
import time

import pytest

from vidcnn.cluster.watch import Watch
from vidcnn.errors import RayDiedError, VidcnnError
from vidcnn.interrupts import interruptible

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

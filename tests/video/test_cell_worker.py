from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from tests.commands import environment
from tests.video import cell_work
from vidcnn.processes import LOW_PRIORITY
from vidcnn.sandbox.confinement import Strength, missing
from vidcnn.video.cell_channel import receive_plain, send
from vidcnn.video.cell_status import STATUS_BYTES
from vidcnn.video.cell_worker import CONFINED, END, ERROR, NEXT, READY, VALUE


class Worker:
    """A decoding process, and this end of what leads to it."""

    def __init__(self, *, yields: bool) -> None:
        self.channel, its = socket.socketpair()
        self.files, its_files = socket.socketpair()
        lifeline, self.lifeline = os.pipe()
        status = os.memfd_create("status")
        os.ftruncate(status, STATUS_BYTES)
        files = (its.fileno(), lifeline, status, its_files.fileno())
        self.process = subprocess.Popen(
            [sys.executable, "-m", "vidcnn.video.cell_worker", *map(str, files), str(int(yields)), "auto",
             "tests.video.cell_work"],
            env=environment(), pass_fds=files,
        )  # fmt: skip
        its.close()
        its_files.close()
        os.close(lifeline)
        os.close(status)
        self.is_confined = False
        assert receive_plain(self.channel) == (READY, None)

    def give(self, work: Any, items: list[Any]) -> None:
        send(self.channel, (work, items, (), None))
        if not self.is_confined:
            kind, strength = receive_plain(self.channel)
            assert kind == CONFINED
            assert Strength(*strength).is_closed == (not missing())
            self.is_confined = True

    def ask(self) -> tuple[str, Any]:
        send(self.channel, NEXT)
        kind, value = receive_plain(self.channel)
        return kind, value

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.channel.close()
        self.files.close()


@pytest.fixture
def worker() -> Iterator[Worker]:
    worker = Worker(yields=True)
    yield worker
    worker.close()


def test_it_works_only_when_it_is_asked_and_says_when_there_is_no_more(worker: Worker) -> None:
    for numbers in ([1, 2], [3]):
        worker.give(cell_work.double, numbers)
        assert [worker.ask() for _ in numbers] == [(VALUE, 2 * number) for number in numbers]
        assert worker.ask() == (END, None)


def test_an_exception_travels_as_a_value_with_its_traceback_and_is_not_the_end(worker: Worker) -> None:
    worker.give(cell_work.misbehave, ["good", "raise"])
    assert worker.ask() == (VALUE, "good")
    kind, error = worker.ask()
    assert (kind, type(error), str(error)) == (ERROR, TypeError, "an integer is required")
    assert "in misbehave" in error.__notes__[0]
    worker.give(cell_work.double, [4])
    assert worker.ask() == (VALUE, 8)


def test_work_that_cannot_begin_is_an_answer_to_a_question_as_any_other(worker: Worker) -> None:
    for _ in range(2):
        worker.give(cell_work.refuse, [1])
        kind, error = worker.ask()
        assert (kind, str(error)) == (ERROR, "not today")
    worker.give(cell_work.double, [4])
    assert [worker.ask(), worker.ask()] == [(VALUE, 8), (END, None)]


def test_it_lets_others_go_first_and_leaves_ctrl_c_to_its_parent(worker: Worker) -> None:
    assert psutil.Process(worker.process.pid).nice() == LOW_PRIORITY
    worker.process.send_signal(2)
    worker.give(cell_work.double, [1])
    assert worker.ask() == (VALUE, 2)


@pytest.mark.parametrize("deed", [None, "hang", "compute"])
def test_it_ends_with_its_parent_whatever_it_is_doing(worker: Worker, deed: str | None) -> None:
    if deed is not None:
        worker.give(cell_work.misbehave, [deed])
        send(worker.channel, NEXT)
    os.close(worker.lifeline)
    assert worker.process.wait(60) in (0, 1)

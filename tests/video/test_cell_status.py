from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.commands import PROJECT
from vidcnn.video import cell_status
from vidcnn.video.cell_status import STATUS_BYTES, CellStatus, at, reading


@pytest.fixture
def memory() -> Iterator[int]:
    file = os.memfd_create("status")
    os.ftruncate(file, STATUS_BYTES)
    yield file
    os.close(file)


def test_a_parent_sees_where_a_child_was_when_it_died(memory: int) -> None:
    status = CellStatus(memory)
    assert (status.position, status.is_reading) == (0, False)
    code = (
        f"import os; from vidcnn.video.cell_status import *; show({memory}); at(7)\n"
        "with reading(): os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code], pass_fds=[memory], cwd=PROJECT, check=False)
    assert done.returncode == -9
    assert (status.position, status.is_reading) == (7, True)
    status.reset()
    assert (status.position, status.is_reading) == (0, False)


def test_reading_is_over_with_its_block_even_after_an_error(memory: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        with reading():
            assert status.is_reading
            raise OSError("gone")

    monkeypatch.setattr(cell_status, "_shown", None)
    cell_status.show(memory)
    status = CellStatus(memory)
    with pytest.raises(OSError, match="gone"):
        fail()
    assert not status.is_reading


def test_in_any_other_process_nothing_is_shown(memory: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cell_status, "_shown", None)
    at(3)
    with reading():
        pass
    assert CellStatus(memory).position == 0

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from tests.limits import within
from tests.video import cell_work
from vidcnn.errors import StorageError
from vidcnn.processes import find_process
from vidcnn.storage.retrying import RetryPolicy
from vidcnn.video import cell as cells
from vidcnn.video.cell import Cell, CellError


@pytest.fixture
def cell() -> Iterator[Cell]:
    cell = Cell()
    yield cell
    cell.close()


def patient(_: object) -> float:
    return 120.0


def run_out(cell: Cell, deeds: list[str], seconds: float = 120.0) -> tuple[list[str], CellError]:
    """Return what came before the child failed, and how it did."""
    came: list[str] = []
    try:
        for value in cell.run(cell_work.misbehave, deeds, seconds=lambda _: seconds):
            came.append(value)
    except CellError as error:
        return came, error
    raise AssertionError("the child did not fail")


def test_work_is_done_elsewhere_and_its_values_come_in_order(cell: Cell) -> None:
    assert list(cell.run(cell_work.double, [1, 2, 3], seconds=patient)) == [2, 4, 6]
    assert list(cell.run(cell_work.double, [], seconds=patient)) == []


def test_one_child_serves_many_calls(cell: Cell) -> None:
    (first,), (second,) = (list(cell.run(cell_work.pid, [1], seconds=patient)) for _ in range(2))
    assert first == second != os.getpid()


def test_large_arrays_come_whole(cell: Cell) -> None:
    sizes = [10, 1_000_000, 3]
    for size, value in zip(sizes, cell.run(cell_work.arrays, sizes, seconds=patient), strict=True):
        assert np.array_equal(value["a"], np.arange(size))
        assert (value["b"] == 7).all()
        assert value["b"].shape == (size, 2)


@pytest.mark.parametrize(
    ("deed", "said"),
    [
        ("segfault", "it was killed by SIGSEGV"),
        ("kill", "it was killed by SIGKILL"),
        ("exit", "it ended with exit code 3"),
    ],
)
def test_a_death_is_told_with_the_item_that_it_happened_over(cell: Cell, deed: str, said: str) -> None:
    came, error = run_out(cell, ["one", "two", deed, "three"])
    assert came == ["one", "two"]
    assert (error.position, error.kind, error.message) == (2, "crash", said)
    assert list(cell.run(cell_work.double, [4], seconds=patient)) == [8]


@pytest.mark.parametrize(("deed", "kind"), [("hang", "timeout"), ("compute", "timeout"), ("read", "storage")])
def test_a_child_that_makes_no_headway_is_killed(cell: Cell, deed: str, kind: str) -> None:
    (child,) = cell.run(cell_work.pid, [1], seconds=patient)
    with within(120):
        came, error = run_out(cell, ["one", deed], seconds=1.0)
    assert came == ["one"]
    assert (error.position, error.kind) == (1, kind)
    assert find_process(child) is None
    assert list(cell.run(cell_work.double, [4], seconds=patient)) == [8]


def test_a_child_that_dies_while_it_starts_is_started_again(
    cell: Cell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "python"
    script.write_text(
        f'#!/bin/sh\n[ -e {tmp_path}/twice ] && exec {sys.executable} "$@"\n'
        f"[ -e {tmp_path}/once ] && touch {tmp_path}/twice\ntouch {tmp_path}/once\nkill -9 $$\n"
    )
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    assert list(cell.run(cell_work.double, [4], seconds=patient)) == [8]
    assert (tmp_path / "twice").exists()


def test_where_no_child_starts_this_machine_is_to_blame(cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells, "_START_TRIES", RetryPolicy(num_tries=2, first_wait_seconds=0))
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(StorageError, match="the process for decoding does not start: it ended with exit code 1"):
        list(cell.run(cell_work.double, [4], seconds=patient))


def test_an_interruption_while_a_child_starts_leaves_none(cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[int] = []

    def interrupted(child: Any, *_: Any) -> Any:
        started.append(child._process.pid)
        raise KeyboardInterrupt

    monkeypatch.setattr(cells._Child, "_receive", interrupted)
    with pytest.raises(KeyboardInterrupt):
        list(cell.run(cell_work.double, [4], seconds=patient))
    assert not psutil.pid_exists(started[0])


def test_a_folder_of_temporary_files_of_the_moment_is_no_reason_for_another_child(
    cell: Cell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert list(cell.run(cell_work.double, [4], seconds=patient)) == [8]
    generation = cell.generation
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert list(cell.run(cell_work.double, [4], seconds=patient)) == [8]
    assert cell.generation == generation


def test_a_child_does_not_get_the_token_with_which_ray_runs_what_it_is_given(
    cell: Cell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "x" * 64)
    (pid,) = cell.run(cell_work.pid, [1], seconds=patient)
    given = psutil.Process(pid).environ()
    assert "RAY_AUTH_TOKEN" not in given
    assert given["PATH"] == os.environ["PATH"]


def test_each_item_may_take_its_own_time(cell: Cell) -> None:
    with pytest.raises(CellError) as info:
        list(cell.run(cell_work.misbehave, ["one", "hang"], seconds=lambda deed: 0.5 if deed == "hang" else 60.0))
    assert (info.value.position, info.value.kind) == (1, "timeout")


def test_what_the_work_raises_is_raised_here_with_its_traceback(cell: Cell) -> None:
    with pytest.raises(TypeError, match="an integer is required") as info:
        list(cell.run(cell_work.misbehave, ["one", "raise"], seconds=patient))
    assert "in misbehave" in info.value.__notes__[0]
    assert list(cell.run(cell_work.double, [4], seconds=patient)) == [8]


def test_work_that_is_given_up_leaves_no_child_in_the_middle_of_it(cell: Cell) -> None:
    values = cell.run(cell_work.double, [1, 2, 3], seconds=patient)
    assert next(values) == 2
    values.close()  # type: ignore[attr-defined]
    assert list(cell.run(cell_work.double, [4], seconds=patient)) == [8]


def test_a_child_that_has_taken_much_memory_is_replaced(cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    (first,) = cell.run(cell_work.pid, [1], seconds=patient)
    monkeypatch.setattr(cells, "_MAX_IDLE_BYTES", 1)
    (same,) = cell.run(cell_work.pid, [1], seconds=patient)
    (other,) = cell.run(cell_work.pid, [1], seconds=patient)
    assert first == same != other


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("deed", ["one", "compute"])
def test_children_end_with_their_parent_however_it_ends(sent: signal.Signals, deed: str, tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from tests.video import cell_work\n"
        "from vidcnn.video.cell import Cell\n"
        "cell = Cell()\n"
        "print(*cell.run(cell_work.pid, [1], seconds=lambda _: 60.0), flush=True)\n"
        f"for value in cell.run(cell_work.misbehave, ['one', {deed!r}], seconds=lambda _: 600.0):\n"
        "    print(value, flush=True)\n"
        "sys.stdin.read()\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert parent.stdout.readline() == "one\n"
    assert find_process(child) is not None
    parent.send_signal(sent)
    parent.communicate()
    deadline = time.monotonic() + 30
    while find_process(child) is not None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert find_process(child) is None


def test_what_cannot_be_sent_is_an_error_of_the_program_and_not_a_death(cell: Cell) -> None:
    with pytest.raises((AttributeError, TypeError, Exception)) as info:
        list(cell.run(cell_work.misbehave, ["unpicklable"], seconds=patient))
    assert not isinstance(info.value, CellError)


def test_values_that_nobody_took_are_not_those_of_the_next_work(cell: Cell) -> None:
    given_up = cell.run(cell_work.double, [1, 2, 3], seconds=patient)
    assert next(given_up) == 2  # and it is kept, as an exception's traceback keeps it
    assert list(cell.run(cell_work.double, [5, 6], seconds=patient)) == [10, 12]
    with pytest.raises(CellError):
        next(given_up)
    assert list(cell.run(cell_work.double, [7], seconds=patient)) == [14]


def test_a_child_knows_the_logins_of_now(cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VIDCNN_TEST_LOGIN", raising=False)
    assert list(cell.run(cell_work.variable, ["VIDCNN_TEST_LOGIN"], seconds=patient)) == [None]
    monkeypatch.setenv("VIDCNN_TEST_LOGIN", "secret")
    assert list(cell.run(cell_work.variable, ["VIDCNN_TEST_LOGIN"], seconds=patient)) == ["secret"]


def test_a_cell_that_is_taken_is_nobody_elses() -> None:
    kept = cells.this_cell(yields=False)
    with cells.take_cell(yields=False) as taken:
        assert taken is kept
        assert cells.this_cell(yields=False) is not taken

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given

from tests.fuzzing import damaged
from tests.limits import within
from vidcnn.storage.locks.holder import Holder, decode, this_process


def holder_of(code: str) -> tuple[Holder, subprocess.Popen[bytes]]:
    """Start a process that says who it is, and does something then."""
    first = "from vidcnn.storage.locks.holder import this_process as t; print(t('held').encode().decode(), flush=True);"
    process = subprocess.Popen([sys.executable, "-c", first + code], stdout=subprocess.PIPE, stdin=subprocess.PIPE)
    assert process.stdout is not None
    holder = decode(process.stdout.readline())
    assert holder is not None
    return holder, process


def test_a_holder_is_written_and_read_back() -> None:
    holder = this_process("contending")
    assert decode(holder.encode()) == holder
    assert str(holder).startswith(f"process {os.getpid()} on ")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"3", b'{"pid": 1}', b"\xff"])
def test_something_else_is_no_holder(content: bytes) -> None:
    assert decode(content) is None


def test_each_time_is_told_from_the_others() -> None:
    assert this_process("held").token != this_process("held").token


def test_a_process_that_ended_is_told_from_one_that_lives() -> None:
    holder, process = holder_of("input()")
    with process:
        assert holder.is_here
        assert not holder.has_ended
        process.kill()
        process.wait()
        assert holder.has_ended


def test_a_later_process_of_the_same_number_is_not_the_holder() -> None:
    own = this_process("held")
    assert own.started is not None
    assert replace(own, started=own.started - 1).has_ended


@pytest.mark.parametrize(
    "changed", [{"machine": "another"}, {"namespace": "pid:[1]"}, {"machine": None}, {"started": None}]
)
def test_nothing_is_certain_of_other_machines_and_containers(changed: dict[str, str]) -> None:
    assert not replace(this_process("held"), pid=2**22 + 1, **changed).has_ended  # type: ignore[arg-type]
    assert replace(this_process("held"), pid=2**22 + 1).has_ended


def test_where_machines_cannot_be_told_apart_their_names_do() -> None:
    own = replace(this_process("held"), machine=None)
    assert own.is_here
    assert not replace(own, host="other").is_here


@pytest.mark.fuzz
@given(damaged(this_process("running").encode(), b"[" * 100_000))
def test_any_content_of_a_lock_is_a_holder_or_nobody(content: bytes) -> None:
    with within(20):
        assert isinstance(decode(content), Holder | None)

"""Values go from thread to thread, each once, and no thread is left waiting, whatever ends first."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidcnn.pipelines.channels import Channel, StoppedError, Writers


def is_alive(name: str) -> bool:
    return any(thread.name == name for thread in threading.enumerate())


@given(st.lists(st.lists(st.integers(), max_size=20), min_size=1, max_size=4), st.integers(1, 3), st.integers(1, 3))
def test_each_value_of_each_writer_comes_out_once(given: list[list[int]], capacity: int, num_readers: int) -> None:
    first = Channel[int](num_writers=len(given), capacity=capacity)
    second = Channel[int](num_writers=num_readers, capacity=capacity)
    work: list[Any] = [(lambda values=values: first.write_all(values), first) for values in given]
    work += [(lambda: second.write_all(first), second)] * num_readers
    with Writers(work, ending_seconds=10):
        assert sorted(second) == sorted(value for values in given for value in values)


def test_a_writer_is_held_back_while_nobody_reads() -> None:
    channel = Channel[int](num_writers=1, capacity=3)
    written: list[int] = []

    def numbers() -> Any:
        for number in range(100):
            written.append(number)
            yield number

    with Writers([(lambda: channel.write_all(numbers()), channel)], ending_seconds=10):
        reading = iter(channel)
        assert next(reading) == 0
        deadline = time.monotonic() + 10
        while len(written) < 5 and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.05)
        assert len(written) == 5  # one read, three waiting, and one in hand


def test_an_error_of_any_thread_is_raised_where_values_are_read() -> None:
    first = Channel[int](num_writers=1, capacity=1)
    second = Channel[int](num_writers=1, capacity=1)

    def fail() -> None:
        raise KeyError("lost")

    with (
        Writers([(fail, first), (lambda: second.write_all(first), second)], ending_seconds=10),
        pytest.raises(KeyError, match="lost"),
    ):
        list(second)


def test_leaving_the_block_ends_threads_that_wait_to_write_or_to_read() -> None:
    first = Channel[int](num_writers=1, capacity=1)
    second = Channel[int](num_writers=1, capacity=1)
    before = threading.active_count()
    work: list[Any] = [(lambda: first.write_all(range(100)), first), (lambda: second.write_all(first), second)]
    with Writers(work, ending_seconds=10):
        assert next(iter(second)) == 0
    assert threading.active_count() == before
    with pytest.raises(StoppedError):
        first.write_all([1])


def test_an_interruption_waits_for_no_thread() -> None:
    channel, may_end = Channel[int](num_writers=1, capacity=1), threading.Event()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt), Writers([(may_end.wait, channel)], ending_seconds=60):  # type: ignore[list-item]
        raise KeyboardInterrupt
    assert time.monotonic() - began < 30
    may_end.set()

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidcnn.errors import StorageError, VideoError
from vidcnn.storage.retrying import RetryPolicy, retrying


@given(st.integers(1, 12), st.floats(0, 10), st.floats(1, 10), st.floats(0, 0.5))
def test_pauses_are_one_fewer_than_tries_and_bounded(tries: int, first: float, growth: float, spread: float) -> None:
    waits = list(RetryPolicy(tries, first, growth, max_wait_seconds=20, spread=spread).waits())
    assert len(waits) == tries - 1
    assert all(0 <= wait <= 20 * (1 + spread) for wait in waits)


def test_pauses_grow() -> None:
    assert list(RetryPolicy(4, 0.5, 4, spread=0).waits()) == [0.5, 2, 8]


def failing(times: int, error: Exception) -> tuple[list[int], object]:
    calls: list[int] = []

    def action() -> str:
        calls.append(len(calls))
        if len(calls) <= times:
            raise error
        return "done"

    return calls, action


@pytest.mark.parametrize("failures", [0, 1, 3])
def test_what_succeeds_in_the_end_has_succeeded(failures: int) -> None:
    slept: list[float] = []
    calls, action = failing(failures, StorageError("down"))
    assert retrying(action, sleep=slept.append) == "done"  # type: ignore[arg-type]
    assert (len(calls), len(slept)) == (failures + 1, failures)


def test_the_last_failure_is_raised() -> None:
    calls, action = failing(9, StorageError("down"))
    with pytest.raises(StorageError, match="down"):
        retrying(action, sleep=lambda _: None)  # type: ignore[arg-type]
    assert len(calls) == 4


def test_other_errors_are_not_worth_another_try() -> None:
    calls, action = failing(9, VideoError("unreadable", "no"))
    with pytest.raises(VideoError):
        retrying(action, sleep=lambda _: None)  # type: ignore[arg-type]
    assert len(calls) == 1

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidcnn.training.restarts import MAX_FRUITLESS, may_start_again, num_fruitless, pause_seconds

steps = st.lists(st.integers(0, 50), min_size=1, max_size=30)


@pytest.mark.parametrize(
    ("saved", "expected"),
    [
        ([0], 0),
        ([0, 0], 1),
        ([0, 40], 0),
        ([0, 40, 40], 1),
        ([0, 40, 40, 90, 90, 90], 2),
        ([9, 5, 9], 2),
        ([5, 9, 5], 1),
    ],
)
def test_failures_without_a_new_checkpoint_are_counted_since_the_last_new_one(saved: list[int], expected: int) -> None:
    assert num_fruitless(saved) == expected


@given(st.lists(st.integers(1, 5), max_size=200))
def test_a_run_that_gets_on_between_failures_may_fail_as_often_as_it_likes(gains: list[int]) -> None:
    saved = [0]
    for gain in gains:
        saved.append(saved[-1] + gain)
        assert may_start_again(saved)
        assert pause_seconds(saved) == 0


@given(steps)
def test_a_run_ends_exactly_when_the_last_attempts_all_brought_nothing(saved: list[int]) -> None:
    recent = range(len(saved) - MAX_FRUITLESS, len(saved))
    stuck = len(saved) > MAX_FRUITLESS and all(saved[index] <= max(saved[:index]) for index in recent)
    assert may_start_again(saved) == (not stuck)


@given(steps, st.integers(0, 50))
def test_whatever_was_saved_no_run_of_so_many_steps_fails_for_ever(saved: list[int], num_steps: int) -> None:
    attempts = [min(step, num_steps) for step in saved]
    count = 0
    while may_start_again(attempts):
        attempts.append(attempts[count % len(attempts)])
        count += 1
    assert count <= MAX_FRUITLESS * (num_steps + 1)


@given(steps)
def test_pauses_grow_until_there_is_progress(saved: list[int]) -> None:
    again = [*saved, max(saved)]
    assert 0 <= pause_seconds(saved) <= pause_seconds(again) <= 30
    assert pause_seconds([*again, max(saved) + 1]) == 0

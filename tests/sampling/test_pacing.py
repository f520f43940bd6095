"""How evenly frames follow each other is worked out from their times alone."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vidcnn.sampling.grid import FrameTimes
from vidcnn.sampling.pacing import pace_of

MILLISECONDS = Fraction(1, 1000)


def times(pts: list[int], *, last: int = 40, keyframes: tuple[int, ...] = (0,)) -> FrameTimes:
    return FrameTimes(np.array(pts, np.int64), pts[-1] + last, MILLISECONDS, np.array(keyframes, np.int64))


def test_even_frames_have_one_rate_and_no_gaps() -> None:
    pace = pace_of(times([1400 + 40 * index for index in range(50)], keyframes=(0, 12, 24, 36)))
    assert (pace.duration_seconds, pace.num_frames, pace.frame_rate) == (2.0, 50, 25.0)
    assert (pace.is_variable_rate, pace.num_gaps, pace.longest_gap_seconds) == (False, 0, 0.0)
    assert (pace.num_keyframes, pace.longest_keyframe_seconds) == (4, 0.56)


def test_a_pause_is_a_gap_and_makes_no_variable_rate() -> None:
    pace = pace_of(times([*range(0, 1000, 40), *range(3500, 4500, 40), *range(5000, 6000, 40)]))
    assert (pace.num_gaps, pace.longest_gap_seconds, pace.is_variable_rate) == (2, 2.54, False)


@pytest.mark.parametrize(("num_odd", "is_variable"), [(1, False), (2, True)])
def test_a_rate_is_variable_where_more_than_one_distance_in_a_hundred_is_odd(num_odd: int, is_variable: bool) -> None:
    distances = [40] * (100 - num_odd) + [80] * num_odd
    pts = [0, *np.cumsum(distances).tolist()]
    assert pace_of(times(pts)).is_variable_rate is is_variable


def test_milliseconds_that_are_rounded_make_no_variable_rate() -> None:
    assert not pace_of(times([round(1000 * index / 240) for index in range(500)], last=4)).is_variable_rate


def test_a_single_frame_is_even() -> None:
    pace = pace_of(times([0], last=500))
    assert pace == (0.5, 1, 2.0, False, 0, 0.0, 1, 0.5)


@example([18_519, 2_177, 3_380], 7, 3)
@given(st.lists(st.integers(1, 20_000), min_size=1, max_size=60), st.integers(-(10**6), 10**6), st.integers(2, 5))
def test_neither_where_a_video_begins_nor_its_unit_of_time_counts(
    distances: list[int], start: int, factor: int
) -> None:
    pts = np.cumsum([0, *distances])
    pace = pace_of(FrameTimes(pts, int(pts[-1]) + 40, MILLISECONDS))
    moved = pace_of(FrameTimes(factor * (pts + start), factor * (int(pts[-1]) + 40 + start), MILLISECONDS / factor))
    assert moved == pace
    assert pace.num_gaps <= len(distances)
    assert pace.longest_gap_seconds <= max(distances) / 1000

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.sampling.test_segments import constant_rate, frame_times
from vidcnn.errors import VideoError
from vidcnn.sampling.grid import Grid
from vidcnn.sampling.segments import FrameTimes, Sampling

FRAMES = Sampling(1, stride=1)
samplings = st.one_of(
    st.builds(Sampling, st.just(1), stride=st.integers(1, 3)),
    st.builds(Sampling, st.just(1), fps=st.sampled_from([0.5, 7.5, 10.0, 25.0, 29.97])),
)


def times_of(grid: Grid, sampling: Sampling) -> list[Fraction]:
    """Return the exact time of each position in seconds."""
    times = grid.times
    if sampling.fps is None:
        return [int(pts) * times.time_base for pts in times.pts]
    first, fps = int(times.pts[0]) * times.time_base, Fraction(str(sampling.fps))
    return [first + index / fps for index in range(grid.num_positions)]


def test_an_interval_holds_the_frames_that_begin_in_it() -> None:
    grid = Grid(constant_rate(10, rate=10), FRAMES)
    assert grid.bounds((None, None)) == range(10)
    assert grid.bounds((0.2, 0.5)) == range(2, 5)
    assert grid.bounds((0.15, 0.51)) == range(2, 6)
    assert grid.bounds((0.5, None)) == range(5, 10)
    assert grid.bounds((None, 0.5)) == range(5)
    assert grid.bounds((0.5, 99.0)) == range(5, 10)
    assert grid.bounds((-3.0, 0.1)) == range(1)


def test_an_interval_holds_the_ticks_in_it() -> None:
    grid = Grid(constant_rate(20, rate=20), Sampling(1, fps=10))  # ticks 0 to 9, at 0.0, 0.1 and so on
    assert grid.bounds((0.2, 0.5)) == range(2, 5)
    assert grid.bounds((0.21, 0.5)) == range(3, 5)
    assert grid.bounds((0.2, 0.51)) == range(2, 6)


def test_times_are_of_presentation_where_a_stream_starts_late() -> None:
    late = constant_rate(10, rate=10, start=5000)  # from 0.5 s to 1.5 s
    for sampling in (FRAMES, Sampling(1, fps=10)):
        assert Grid(late, sampling).bounds((0.7, 1.0)) == range(2, 5)
        assert Grid(late, sampling).bounds((0.0, 0.7)) == range(2)


def test_a_decimal_means_what_it_says() -> None:
    grid = Grid(constant_rate(100, rate=10), FRAMES)
    for tenth in range(1, 99):
        assert grid.bounds((tenth / 10, (tenth + 1) / 10)) == range(tenth, tenth + 1)
    film = Grid(FrameTimes(np.arange(90) * 1001, 90 * 1001, Fraction(1, 30_000)), FRAMES)
    assert film.bounds((1.001, 2.002)) == range(30, 60)


def test_an_interval_has_at_least_one_position() -> None:
    grid = Grid(constant_rate(10, rate=10), FRAMES)
    assert grid.bounds((0.31, 0.35)) == range(4, 5)
    assert grid.bounds((0.99, 1.5)) == range(9, 10)


def test_an_interval_after_the_end_is_refused() -> None:
    for sampling in (FRAMES, Sampling(1, fps=3)):
        with pytest.raises(VideoError) as caught:
            Grid(constant_rate(10, rate=10), sampling).bounds((1.0, 2.0))
        assert caught.value.kind == "too_short"
        assert caught.value.message == "the interval begins at 1 s, and the video ends at 1 s"


milliseconds = st.one_of(st.none(), st.integers(-1000, 130_000))


@given(frame_times(), samplings, milliseconds, milliseconds)
def test_bounds_are_those_of_exact_comparison(times: FrameTimes, sampling: Sampling, start: Any, end: Any) -> None:
    assume(start is None or end is None or start < end)
    grid = Grid(times, sampling)
    low, high = (None if value is None else Fraction(value, 1000) for value in (start, end))
    interval = (None if start is None else start / 1000, None if end is None else end / 1000)
    if low is not None and low >= times.end * times.time_base:
        with pytest.raises(VideoError, match="the interval begins at"):
            grid.bounds(interval)
        return
    found = grid.bounds(interval)
    expected = [
        index
        for index, time in enumerate(times_of(grid, sampling))
        if (low is None or time >= low) and (high is None or time < high)
    ]
    if expected:
        assert list(found) == expected
    else:
        assert len(found) == 1
    assert 0 <= found.start < found.stop <= grid.num_positions


@given(frame_times(), samplings, st.lists(st.integers(-1000, 130_000), min_size=1, max_size=4, unique=True))
def test_intervals_that_follow_each_other_share_no_position_and_leave_none_out(
    times: FrameTimes, sampling: Sampling, cuts: list[int]
) -> None:
    grid = Grid(times, sampling)
    edges = [None, *(cut / 1000 for cut in sorted(cuts)), None]
    parts = []
    for start, end in pairwise(edges):
        if start is None or Fraction(round(start * 1000), 1000) < times.end * times.time_base:
            parts.append(grid.bounds((start, end)))
    inside = [part for part in parts if len(part) > 1]
    for earlier, later in pairwise(inside):
        assert earlier.stop <= later.start
    assert set().union(*parts) == set(range(grid.num_positions))

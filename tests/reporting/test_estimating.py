from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidcnn.reporting.estimating import Range, cut_strata, estimate_clips, estimate_seconds, speed_error

file_sizes = st.lists(st.integers(0, 10**10), min_size=1, max_size=200)


@given(file_sizes, st.integers(1, 80))
def test_every_video_is_in_one_stratum_and_one_of_each_speaks_for_it(sizes: list[int], number: int) -> None:
    strata = cut_strata(sizes, number)
    assert len(strata) == min(number, len(sizes))
    assert sum(stratum.num_videos for stratum in strata) == len(sizes)
    assert sum(stratum.size_bytes for stratum in strata) == sum(sizes)
    assert len({stratum.index for stratum in strata}) == len(strata)
    assert all(stratum.sampled_bytes == sizes[stratum.index] for stratum in strata)
    assert [stratum.sampled_bytes for stratum in strata] == sorted(stratum.sampled_bytes for stratum in strata)


def test_an_empty_source_has_no_strata() -> None:
    assert cut_strata([], 10) == []


@given(file_sizes, st.data())
def test_a_sample_of_everything_leaves_nothing_to_estimate(sizes: list[int], data: st.DataObject) -> None:
    clips = data.draw(st.lists(st.integers(0, 1000), min_size=len(sizes), max_size=len(sizes)))
    estimate = estimate_clips(cut_strata(sizes, 200), clips)
    assert estimate == (sum(clips), sum(clips), sum(clips))
    assert estimate.is_exact


@given(file_sizes, st.integers(2, 50), st.data())
def test_the_range_holds_its_estimate_and_all_that_was_seen(sizes: list[int], number: int, data: st.DataObject) -> None:
    strata = cut_strata(sizes, number)
    clips = data.draw(st.lists(st.integers(0, 1000), min_size=len(strata), max_size=len(strata)))
    low, best, high = estimate_clips(strata, clips)
    assert sum(clips) - 1e-6 <= best * (1 + 1e-9)
    assert low <= best + 1e-6 or low == sum(clips)
    assert best <= high


@pytest.mark.parametrize("spread", [0.0, 0.3])
def test_the_range_holds_the_truth_of_sources_whose_clips_go_with_size(spread: float) -> None:
    held = 0
    for seed in range(100):
        chance = random.Random(seed)
        sizes = [round(chance.lognormvariate(16, 1)) for _ in range(1000)]
        clips = [max(1, round(size / 1e5 * chance.uniform(1 - spread, 1 + spread))) for size in sizes]
        strata = cut_strata(sizes, 64)
        low, best, high = estimate_clips(strata, [clips[stratum.index] for stratum in strata])
        held += low <= sum(clips) + 1 and sum(clips) - 1 <= high
        assert best == pytest.approx(sum(clips), rel=0.25)
    assert held >= 90


def test_empty_files_count_by_number() -> None:
    strata = cut_strata([0] * 10, 2)
    assert estimate_clips(strata, [3, 3]).best == 30


def test_time_goes_with_clips_after_the_start() -> None:
    arrivals = [(100.0 + index, 10) for index in range(21)]  # 10 clips/s
    found = estimate_seconds(Range(3600, 3600, 3600), starting_seconds=8.0, arrivals=arrivals, is_whole=False)
    assert found == (pytest.approx(368.0), pytest.approx(368.0), pytest.approx(368.0))
    wide = estimate_seconds(Range(1800, 3600, 7200), starting_seconds=8.0, arrivals=arrivals, is_whole=False)
    assert wide == (pytest.approx(188.0), pytest.approx(368.0), pytest.approx(728.0))


def test_what_was_measured_whole_is_not_scaled() -> None:
    arrivals = [(5.0, 4), (7.5, 4)]
    found = estimate_seconds(Range(8, 8, 8), starting_seconds=6.0, arrivals=arrivals, is_whole=True)
    assert found == (8.5, 8.5, 8.5)


def test_a_speed_that_varies_is_less_sure() -> None:
    steady = [(float(index), 1) for index in range(41)]
    times = [0.0]
    for index in range(40):
        times.append(times[-1] + (0.5 if index % 20 < 10 else 2.0))
    assert speed_error(steady) == pytest.approx(0.0)
    assert speed_error([(time, 1) for time in times]) > 0.3
    assert speed_error(steady[:4]) == 0.5


@given(
    st.tuples(st.floats(0, 1e6), st.floats(0, 1e6), st.floats(0, 1e6)).map(lambda parts: Range(*sorted(parts))),
    st.lists(st.tuples(st.floats(0, 100), st.integers(0, 64)), max_size=60),
    st.floats(0, 1000),
)
def test_times_are_in_order(clips: Range, steps: list[tuple[float, int]], starting: float) -> None:
    now, arrivals = 0.0, []
    for step, num_clips in steps:
        now += step
        arrivals.append((now, num_clips))
    low, best, high = estimate_seconds(clips, starting_seconds=starting, arrivals=arrivals, is_whole=False)
    assert 0 <= low <= best * (1 + 1e-9) + 1e-9
    assert best <= high

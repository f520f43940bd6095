"""What a run is told to take is held against what it takes, over made sequences of finished segments."""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidcnn.pipelines.pending import NUM_LARGEST
from vidcnn.reporting.forecast import Forecast

MB = 10**6


class Video(NamedTuple):
    size_bytes: int
    segments: tuple[int, ...]  # clips of each; (0,) for a video that cannot be read
    seconds: float  # for all its clips


class Told(NamedTuple):
    now: float
    told: float | None
    truth: float


def simulate(videos: list[Video], *, num_workers: int = 2, expected: int | None = None) -> Iterator[Told]:
    """Let workers do the videos in order, and compare at each second what is told with what is true."""
    free = [0.0] * num_workers
    done: list[tuple[float, int, int]] = []
    for number, video in enumerate(videos):
        for clips in video.segments:
            share = clips / sum(video.segments) if clips else 1.0
            end = heapq.heappop(free) + video.seconds * share
            heapq.heappush(free, end)
            done.append((end, number, clips))
    done.sort()
    forecast = Forecast(len(videos), sum(video.size_bytes for video in videos))
    if expected is not None:
        forecast.expect(expected)
    total, second = done[-1][0], 1.0
    for end, number, clips in done:
        while second < end:
            yield Told(second, forecast.seconds(second), total - second)
            second += 1.0
        video = videos[number]
        forecast.add(end, str(number), video.size_bytes, len(video.segments), clips)


def sampled(videos: list[Video]) -> int:
    """Return what a run expects at its start: some videos say how many clips a byte has."""
    some = [videos[2**power - 1] for power in range(len(videos).bit_length())]
    some += heapq.nlargest(NUM_LARGEST, videos)
    per_byte = sum(sum(video.segments) for video in some) / sum(video.size_bytes for video in some)
    return int(per_byte * sum(video.size_bytes for video in videos))


def alike(number: int, generator: random.Random) -> list[Video]:
    """Clips go with size, and time with clips."""
    sizes = [generator.randint(1, 20) for _ in range(number)]
    return [Video(size * MB, (size,) * 2, 0.2 * size) for size in sizes]


def fixed_number(number: int, generator: random.Random) -> list[Video]:
    """``--num-clips 10``: size says nothing."""
    return [Video(int(generator.lognormvariate(0, 1.5) * 10 * MB), (10,), 2.0) for _ in range(number)]


def unreadable_and_large(number: int, generator: random.Random) -> list[Video]:
    """One in five is larger than all others, and gone through in no time."""
    videos = alike(number, generator)
    broken = [Video(2000 * MB, (0,), 0.01) for _ in range(number // 4)]
    mixed = videos + broken
    generator.shuffle(mixed)
    return mixed


def unreadable_first(number: int, generator: random.Random) -> list[Video]:
    return [Video(4000 * MB, (0,), 0.01) for _ in range(3)] + alike(number, generator)


def decoding_bound(number: int, generator: random.Random) -> list[Video]:
    """Some videos have ten times the bytes for each clip, and take ten times as long."""
    rates = [generator.choice((1, 1, 10)) for _ in range(number)]
    return [Video(10 * rate * MB, (5, 5), 0.4 * rate) for rate in rates]


def low_bitrates(number: int, generator: random.Random) -> list[Video]:
    """Videos of like length, whose bit rates differ a hundredfold."""
    return [Video(int(10 ** generator.uniform(0, 2)) * MB, (20, 20), 4.0) for _ in range(number)]


def one_is_huge(number: int, generator: random.Random) -> list[Video]:
    """Most of the work is in one video, somewhere in the middle."""
    videos = alike(number, generator)
    return [*videos[: number // 3], Video(4000 * MB, (40,) * 100, 800.0), *videos[number // 3 :]]


def tiny_ones_first(number: int, generator: random.Random) -> list[Video]:
    """Many videos of one clip, then long ones."""
    return [Video(MB // 4, (1,), 0.1) for _ in range(2 * number)] + alike(number, generator)


@pytest.mark.parametrize(
    "source",
    [
        alike,
        fixed_number,
        unreadable_and_large,
        unreadable_first,
        decoding_bound,
        low_bitrates,
        one_is_huge,
        tiny_ones_first,
    ],
)
@pytest.mark.parametrize("seed", range(5))
def test_the_time_left_is_near_the_truth_once_a_tenth_of_the_run_is_done(source: object, seed: int) -> None:
    videos = source(300, random.Random(seed))  # type: ignore[operator]
    told = list(simulate(videos, expected=sampled(videos)))
    total = told[-1].now + told[-1].truth
    after = [moment for moment in told if moment.now > 0.1 * total]
    assert len(after) > 20
    for moment in after:
        assert moment.told is not None, moment
        is_close = abs(moment.told - moment.truth) < 0.1 * total
        assert is_close or moment.truth / 1.6 <= moment.told <= 1.6 * moment.truth, moment


def test_what_a_sample_says_counts_until_the_run_knows_better() -> None:
    forecast = Forecast(1000, 1000 * MB)
    forecast.expect(5000)
    forecast.add(0.0, "a", MB, 1, 1)
    forecast.add(1.0, "b", MB, 1, 1)
    left = forecast.left
    assert left is not None
    assert left.num_clips == pytest.approx((2 * 998 + 3 * 4990) / 5)
    for number in range(198):
        forecast.add(number + 2.0, str(number), MB, 1, 1)
    left = forecast.left
    assert left is not None
    assert left.num_clips == pytest.approx(800, rel=0.1)


def test_the_clips_of_a_video_that_has_begun_are_told_from_its_segments() -> None:
    forecast = Forecast(1, 100 * MB)
    assert forecast.left is None
    forecast.add(0.0, "long", 100 * MB, 50, 40)
    left = forecast.left
    assert left is not None
    assert left.num_clips == pytest.approx(49 * 40)
    forecast = Forecast(1, 100 * MB)
    forecast.add(0.0, "long", 100 * MB, 50, 40, 1000)
    left = forecast.left
    assert left is not None
    assert left.num_clips == pytest.approx(960)


def test_silence_is_not_told_as_a_few_seconds() -> None:
    forecast = Forecast(1, 100 * MB)
    for second in range(99):
        forecast.add(float(second), "long", 100 * MB, 100, 10)
    assert forecast.seconds(98.5) == pytest.approx(1.0, abs=0.1)
    assert forecast.seconds(98.0 + 180) == pytest.approx(180)


@given(
    st.lists(
        st.tuples(st.integers(0, 10**12), st.integers(1, 5), st.integers(0, 100), st.floats(0, 100)),
        min_size=1,
        max_size=60,
    ),
    st.none() | st.integers(0, 10**9),
)
def test_what_is_told_is_never_negative_and_all_is_done_at_the_end(
    videos: list[tuple[int, int, int, float]], expected: int | None
) -> None:
    forecast = Forecast(len(videos), sum(size for size, *_ in videos))
    if expected is not None:
        forecast.expect(expected)
    now = 0.0
    for number, (size, num_segments, clips, seconds) in enumerate(videos):
        for segment in range(num_segments):
            now += seconds
            assert forecast.add(now, str(number), size, num_segments, clips) == (segment == num_segments - 1)
            told = forecast.seconds(now)
            assert told is None or 0 <= told < float("inf")
            assert 0 <= forecast.fraction <= 1
    left = forecast.left
    assert left is not None
    assert left.num_clips == pytest.approx(0)

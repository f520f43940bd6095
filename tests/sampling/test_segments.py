from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidcnn.errors import VideoError
from vidcnn.sampling.grid import Grid
from vidcnn.sampling.segments import ClipSpec, FrameTimes, Sampling, Segment, plan_clips_at, plan_segments


def constant_rate(num_frames: int, *, rate: int = 30, start: int = 0, keyframes: list[int] | None = None) -> FrameTimes:
    pts = start + np.arange(num_frames, dtype=np.int64) * 1000
    return FrameTimes(
        pts, start + num_frames * 1000, Fraction(1, rate * 1000), np.array(keyframes or [0], dtype=np.int64)
    )


def frames_of(segments: list[Segment]) -> list[list[int]]:
    return [row.tolist() for segment in segments for row in segment.frames]


def plan(num_frames: int, sampling: Sampling, **spec: Any) -> list[list[int]]:
    return frames_of(plan_segments(constant_rate(num_frames), ClipSpec(sampling, **spec)))


def test_clips_lie_back_to_back_and_the_tail_holds_its_last_frame() -> None:
    assert plan(10, Sampling(3, stride=2)) == [[0, 2, 4], [6, 8, 8]]


def test_a_video_that_fits_exactly_has_no_tail() -> None:
    assert plan(6, Sampling(3, stride=1)) == [[0, 1, 2], [3, 4, 5]]


def test_loop_starts_a_short_clip_over() -> None:
    assert plan(5, Sampling(4, stride=1), short_clips="loop") == [[0, 1, 2, 3], [4, 4, 4, 4]]
    assert plan(3, Sampling(8, stride=1), short_clips="loop") == [[0, 1, 2, 0, 1, 2, 0, 1]]


def test_drop_leaves_out_the_tail_but_reports_a_short_video() -> None:
    assert plan(7, Sampling(3, stride=1), short_clips="drop") == [[0, 1, 2], [3, 4, 5]]
    with pytest.raises(
        VideoError, match=r"a clip spans 61 frames \(num_frames=16, stride=4\) but the video has 50"
    ) as info:
        plan(50, Sampling(16, stride=4), short_clips="drop")
    assert info.value.kind == "too_short"


def test_overlapping_clips_end_with_the_one_that_reaches_the_last_frame() -> None:
    assert plan(7, Sampling(4, stride=1), step=2) == [[0, 1, 2, 3], [2, 3, 4, 5], [4, 5, 6, 6]]
    assert plan(6, Sampling(4, stride=1), step=2) == [[0, 1, 2, 3], [2, 3, 4, 5]]


def test_a_step_beyond_the_clip_leaves_frames_out() -> None:
    assert plan(20, Sampling(2, stride=1), step=8) == [[0, 1], [8, 9], [16, 17]]


def test_uniform_clips_reach_from_the_first_frame_to_the_last() -> None:
    assert plan(100, Sampling(2, stride=1), num_clips=3) == [[0, 1], [49, 50], [98, 99]]
    assert plan(100, Sampling(2, stride=1), num_clips=1) == [[49, 50]]


def test_uniform_clips_are_fewer_where_there_are_fewer_starts() -> None:
    assert plan(5, Sampling(4, stride=1), num_clips=10) == [[0, 1, 2, 3], [1, 2, 3, 4]]
    assert plan(2, Sampling(4, stride=1), num_clips=10) == [[0, 1, 1, 1]]


def test_target_rate_takes_the_frame_on_screen_at_each_tick_of_a_variable_rate() -> None:
    #  on screen: 0 from 0.0 s, 1 from 0.1 s, 2 from 0.5 s, 3 from 0.6 s; the last ends at 1.0 s
    times = FrameTimes(np.array([0, 100, 500, 600]), 1000, Fraction(1, 1000))
    segments = plan_segments(times, ClipSpec(Sampling(5, fps=5)))
    assert frames_of(segments) == [[0, 1, 1, 3, 3]]  # at 0.0, 0.2, 0.4, 0.6, 0.8 s
    assert segments[0].start_seconds.tolist() == [0.0]
    assert segments[0].end_seconds.tolist() == [1.0]


def test_target_rate_is_even_where_the_container_rounds_to_milliseconds() -> None:
    pts = np.array([round(index * 1000 / 30) for index in range(60)], dtype=np.int64)
    times = FrameTimes(pts, 2000, Fraction(1, 1000))
    frames = frames_of(plan_segments(times, ClipSpec(Sampling(30, fps=15))))
    assert frames == [list(range(0, 60, 2))]


def test_target_rate_above_the_videos_own_repeats_frames() -> None:
    assert frames_of(plan_segments(constant_rate(2, rate=10), ClipSpec(Sampling(4, fps=20)))) == [[0, 0, 1, 1]]


def test_times_are_presentation_times_of_a_stream_that_starts_late() -> None:
    segments = plan_segments(constant_rate(4, rate=2, start=3000), ClipSpec(Sampling(2, stride=1)))
    assert [s.start_seconds.tolist() for s in segments] == [[1.5, 2.5]]
    assert [s.end_seconds.tolist() for s in segments] == [[2.5, 3.5]]


def test_clips_past_what_the_file_still_holds_are_marked() -> None:
    times = FrameTimes(np.arange(6), 6, Fraction(1, 30), num_available=3)
    segments = plan_segments(times, ClipSpec(Sampling(2, stride=1)))
    assert [s.truncated.tolist() for s in segments] == [[False, True, True]]


def test_a_long_video_is_cut_at_keyframes() -> None:
    times = constant_rate(30_000, keyframes=list(range(0, 30_000, 250)))
    segments = plan_segments(times, ClipSpec(Sampling(16, stride=1)))
    assert len(segments) > 20
    for segment in segments[1:]:
        wasted = segment.frames[0, 0] - segment.keyframe_pts[0] // 1000
        assert 0 <= wasted <= 16
    assert max(np.ptp(s.frames) for s in segments) < 2048


def test_a_video_with_one_keyframe_stays_whole_rather_than_being_decoded_over_and_over() -> None:
    assert len(plan_segments(constant_rate(30_000), ClipSpec(Sampling(16, stride=1)))) == 1


def test_far_apart_clips_cost_what_is_decoded_for_them() -> None:
    times = constant_rate(200_000, keyframes=list(range(0, 200_000, 250)))
    segments = plan_segments(times, ClipSpec(Sampling(16, stride=1), num_clips=12))
    assert 1 < len(segments) < 12


samplings = st.one_of(
    st.builds(Sampling, st.integers(1, 20), stride=st.integers(1, 9)),
    st.builds(Sampling, st.integers(1, 20), fps=st.sampled_from([0.5, 1, 7.5, 12.0, 15, 29.97, 30, 59.94, 120])),
)
specs = st.one_of(
    st.builds(
        ClipSpec,
        samplings,
        step=st.one_of(st.none(), st.integers(1, 40)),
        short_clips=st.sampled_from(["repeat_last", "loop"]),
    ),
    st.builds(ClipSpec, samplings, num_clips=st.integers(1, 12)),
)


@st.composite
def frame_times(draw: Any) -> FrameTimes:
    gaps = draw(st.lists(st.integers(1, 400), min_size=1, max_size=300))
    start = draw(st.integers(-1000, 100_000))
    edges = start + np.concatenate([[0], np.cumsum(gaps)]).astype(np.int64)
    keyframes = sorted(draw(st.sets(st.integers(0, len(gaps) - 1), max_size=20)))
    time_base = draw(st.sampled_from([Fraction(1, 1000), Fraction(1, 90_000), Fraction(1, 12_800)]))
    return FrameTimes(edges[:-1], int(edges[-1]), time_base, np.array(keyframes, dtype=np.int64))


@given(frame_times(), specs, st.integers(1, 200), st.integers(1, 20))
def test_segments_hold_every_clip_once_whatever_their_bounds(
    times: FrameTimes, spec: ClipSpec, max_frames: int, max_clips: int
) -> None:
    whole = plan_segments(times, spec, max_frames=10**9, max_clips=10**9)
    cut = plan_segments(times, spec, max_frames=max_frames, max_clips=max_clips)
    assert len(whole) == 1
    assert frames_of(cut) == frames_of(whole)
    assert [s.index for s in cut] == list(range(len(cut)))
    assert {s.count for s in cut} == {len(cut)}
    assert [s.first_clip for s in cut] == np.cumsum([0, *(s.num_clips for s in cut)])[:-1].tolist()
    for segment in cut:
        assert segment.num_clips > 0
        assert segment.frames.shape == (segment.num_clips, spec.sampling.num_frames)
        assert (segment.pts == times.pts[segment.frames]).all()
        assert segment.keyframe_pts[0] <= segment.pts.min()
        assert segment.starts_at_beginning == (segment.keyframe_pts[0] == times.pts[0])
        assert (segment.start_seconds < segment.end_seconds).all()


@given(frame_times(), samplings)
def test_back_to_back_clips_cover_the_whole_video_without_a_gap(times: FrameTimes, sampling: Sampling) -> None:
    (segment,) = plan_segments(times, ClipSpec(sampling), max_frames=10**9, max_clips=10**9)
    time_base = float(times.time_base)
    assert segment.start_seconds[0] == pytest.approx(int(times.pts[0]) * time_base)
    assert segment.end_seconds[-1] == pytest.approx(times.end * time_base)
    assert segment.start_seconds[1:] == pytest.approx(segment.end_seconds[:-1])


@given(frame_times(), st.integers(1, 20), st.floats(0.1, 100))
def test_each_tick_shows_the_last_frame_that_began(times: FrameTimes, num_frames: int, fps: float) -> None:
    segments = plan_segments(times, ClipSpec(Sampling(num_frames, fps=fps)), max_frames=10**9, max_clips=10**9)
    exact = Fraction(fps).limit_denominator(100_000)
    shown = [frame for row in frames_of(segments) for frame in row]
    num_ticks = -int(-(times.end - int(times.pts[0])) * times.time_base * exact // 1)
    for tick in range(min(num_ticks, len(shown))):
        time = int(times.pts[0]) + tick / exact / times.time_base
        begun = [index for index, pts in enumerate(times.pts.tolist()) if pts <= time + Fraction(1, 2)]
        assert shown[tick] in (begun[-1], max(0, np.searchsorted(times.pts, float(time), side="right") - 1))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_frames": 0, "stride": 1}, r"num_frames \(0\) must be > 0"),
        ({"stride": 0}, r"stride \(0\) must be > 0"),
        ({}, "give one of stride"),
        ({"stride": 1, "fps": 2.0}, "give one of stride"),
        ({"fps": float("nan")}, r"fps \(nan\) must be in"),
    ],
)
def test_impossible_samplings_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Sampling(**arguments)


def test_impossible_layouts_are_refused() -> None:
    with pytest.raises(ValueError, match="give one of step"):
        ClipSpec(Sampling(stride=1), step=1, num_clips=1)
    with pytest.raises(ValueError, match=r"num_clips \(0\) must be > 0"):
        ClipSpec(Sampling(stride=1), num_clips=0)


@pytest.mark.parametrize(
    "spec",
    [ClipSpec(Sampling(16, fps=30)), ClipSpec(Sampling(16, fps=1), num_clips=2_000_000), ClipSpec(Sampling(1, fps=1))],
)
def test_times_that_would_make_millions_of_clips_are_refused_before_memory_is_taken(spec: ClipSpec) -> None:
    """Two frames, a thousand years apart."""
    times = FrameTimes(np.array([0, 10**12 * 31]), 10**12 * 31 + 1, Fraction(1, 1000))
    with pytest.raises(VideoError, match=r"it would make \d+ clips of \d+ frames, above the limit") as info:
        plan_segments(times, spec)
    assert info.value.kind == "too_large"


HOUR = 3600


def test_a_small_file_cannot_claim_to_be_shown_for_days() -> None:
    spec = ClipSpec(Sampling(16, fps=1))
    times = FrameTimes(np.array([0, 5]), 20 * HOUR, Fraction(1), size_bytes=75_000)
    with pytest.raises(VideoError, match="its 2 frames, in 75000 bytes, would be shown for 72000 s") as info:
        plan_segments(times, spec)
    assert info.value.kind == "too_large"
    (segment,) = plan_segments(times, spec, interval=(0, 60))  # of which the user knows
    assert segment.num_clips == 4


@pytest.mark.parametrize(
    ("num_frames", "seconds", "size_bytes"),
    [
        (3600, 24 * HOUR, 3_600_000),  # two minutes of a camera, with a day between them
        (40, 3 * HOUR, 400_000),  # a lecture, one frame for each page
        (1, HOUR, 10_000),
        (720, 720 * HOUR, 72_000_000),  # one large picture an hour
    ],
)
def test_recordings_with_long_gaps_are_covered(num_frames: int, seconds: int, size_bytes: int) -> None:
    times = FrameTimes(np.arange(num_frames), seconds, Fraction(1), size_bytes=size_bytes)
    segments = plan_segments(times, ClipSpec(Sampling(16, fps=1)))
    assert segments[-1].end_seconds[-1] == seconds


def test_what_was_cut_off_is_reported_whatever_is_left() -> None:
    times = FrameTimes(np.arange(20 * HOUR), 20 * HOUR, Fraction(1), num_available=10, size_bytes=1000)
    segments = plan_segments(times, ClipSpec(Sampling(10, fps=1)))
    assert sum(segment.truncated.sum() for segment in segments) == 2 * HOUR - 1


def test_a_gap_of_years_is_no_matter_where_frames_are_counted() -> None:
    times = FrameTimes(np.array([0, 10**12 * 31]), 10**12 * 31 + 1, Fraction(1, 1000))
    assert frames_of(plan_segments(times, ClipSpec(Sampling(2, stride=1)))) == [[0, 1]]
    assert frames_of(plan_segments(times, ClipSpec(Sampling(2, fps=1), num_clips=3)))[0] == [0, 0]


def test_clips_of_an_interval_lie_in_it() -> None:
    times = constant_rate(30, rate=10)
    spec = ClipSpec(Sampling(3, stride=2))
    segments = plan_segments(times, spec, interval=(1.0, 2.0))
    assert frames_of(segments) == [[10, 12, 14], [16, 18, 18]]
    assert [s.start_seconds.tolist() for s in segments] == [[1.0, 1.6]]
    assert [s.end_seconds.tolist() for s in segments] == [[1.6, 2.0]]
    assert frames_of(plan_segments(times, spec, interval=(1.0, None)))[0] == [10, 12, 14]
    uniform = ClipSpec(Sampling(3, stride=2), num_clips=3)
    assert frames_of(plan_segments(times, uniform, interval=(1.0, 2.0))) == [[10, 12, 14], [12, 14, 16], [15, 17, 19]]
    looped = ClipSpec(Sampling(3, stride=2), short_clips="loop")
    assert frames_of(plan_segments(times, looped, interval=(1.0, 1.3))) == [[10, 12, 10]]
    with pytest.raises(VideoError, match="but the video has 3"):
        plan_segments(times, ClipSpec(Sampling(3, stride=2), short_clips="drop"), interval=(1.0, 1.3))


shares = st.tuples(st.one_of(st.none(), st.integers(-2, 19)), st.one_of(st.none(), st.integers(1, 21)))


def interval_of(times: FrameTimes, parts: tuple[int | None, int | None]) -> tuple[float | None, float | None]:
    """Return a part of a video from twentieths of its length: where it begins, and how long it is."""
    begin, length = parts
    first = int(times.pts[0])
    twentieth = Fraction(times.end - first, 20)
    start = None if begin is None else float((first + begin * twentieth) * times.time_base)
    end = None if length is None else float((first + ((begin or 0) + length) * twentieth) * times.time_base)
    return start, end


@given(frame_times(), specs, shares)
def test_an_interval_is_planned_as_a_video_of_its_positions(
    times: FrameTimes, spec: ClipSpec, parts: tuple[int | None, int | None]
) -> None:
    interval = interval_of(times, parts)
    grid = Grid(times, spec.sampling)
    bounds = grid.bounds(interval)
    (found,) = plan_segments(times, spec, interval=interval, max_frames=10**9, max_clips=10**9)
    # The same clips over a video of as many frames as the interval has positions.
    sampling = Sampling(spec.sampling.num_frames, stride=grid.stride)
    alone = ClipSpec(sampling, spec.step, spec.num_clips, spec.short_clips)
    (expected,) = plan_segments(constant_rate(len(bounds)), alone, max_frames=10**9, max_clips=10**9)
    assert np.array_equal(found.frames, grid.frames_at(bounds.start + expected.frames))
    assert found.start_seconds[0] >= grid.seconds_at(np.array([bounds.start]))[0]
    assert (found.end_seconds <= grid.seconds_at(np.array([bounds.stop]))[0]).all()


@given(frame_times(), st.integers(1, 20), st.integers(1, 9), st.data())
def test_an_interval_of_frames_is_planned_as_the_video_cut_to_it(
    times: FrameTimes, num_frames: int, stride: int, data: Any
) -> None:
    first = data.draw(st.integers(0, times.num_frames - 1))
    last = data.draw(st.integers(first + 1, times.num_frames))
    edges = [*times.pts.tolist(), times.end]
    cut = FrameTimes(times.pts[first:last], edges[last], times.time_base)
    # Between two frames, so that rounding decides nothing.
    start, end = (float((edges[index] - Fraction(1, 2)) * times.time_base) for index in (first, last))
    spec = ClipSpec(Sampling(num_frames, stride=stride))
    (found,) = plan_segments(times, spec, interval=(start, end), max_frames=10**9, max_clips=10**9)
    (expected,) = plan_segments(cut, spec, max_frames=10**9, max_clips=10**9)
    assert np.array_equal(found.frames, expected.frames + first)
    assert np.array_equal(found.pts, expected.pts)
    assert np.array_equal(found.start_seconds, expected.start_seconds)
    assert np.array_equal(found.end_seconds, expected.end_seconds)


def test_a_place_is_a_share_of_the_possible_starts() -> None:
    times = constant_rate(10)
    segment = plan_clips_at(times, Sampling(3, stride=2), [0.0, 0.16, 0.17, 0.5, 0.9999])  # starts 0 to 5
    assert segment.frames.tolist() == [[0, 2, 4], [0, 2, 4], [1, 3, 5], [3, 5, 7], [5, 7, 9]]
    assert (segment.index, segment.count, segment.first_clip, segment.num_clips) == (0, 1, 0, 5)
    within = plan_clips_at(times, Sampling(3, stride=1), [0.0, 0.9999], interval=(0.1, 0.25))  # frames 3 to 7
    assert within.frames.tolist() == [[3, 4, 5], [5, 6, 7]]


def test_a_video_shorter_than_a_clip_has_one_start() -> None:
    times = constant_rate(3)
    for place in (0.0, 0.9999):
        assert plan_clips_at(times, Sampling(4, stride=2), [place]).frames.tolist() == [[0, 2, 2, 2]]
        assert plan_clips_at(times, Sampling(4, stride=2), [place], short_clips="loop").frames.tolist() == [
            [0, 2, 0, 2]
        ]
    with pytest.raises(VideoError, match="a clip spans 7 frames"):
        plan_clips_at(times, Sampling(4, stride=2), [0.0], short_clips="drop")


@given(frame_times(), samplings, shares)
def test_places_reach_every_whole_clip_of_the_interval_and_no_other(
    times: FrameTimes, sampling: Sampling, parts: tuple[int | None, int | None]
) -> None:
    interval = interval_of(times, parts)
    grid = Grid(times, sampling)
    bounds = grid.bounds(interval)
    span = (sampling.num_frames - 1) * grid.stride + 1
    num_starts = max(1, len(bounds) - span + 1)
    wanted = np.unique(np.linspace(0, num_starts - 1, 20).astype(np.int64))
    places = [(int(start) + 0.5) / num_starts for start in wanted]
    found = plan_clips_at(times, sampling, places, interval=interval)
    positions = bounds.start + wanted[:, None] + np.arange(sampling.num_frames) * grid.stride
    if len(bounds) >= span:
        assert np.array_equal(found.frames, grid.frames_at(positions))
    assert np.isin(found.frames, grid.frames_at(np.arange(bounds.start, bounds.stop))).all()
    (last,) = plan_clips_at(times, sampling, [1 - 2**-53], interval=interval).frames
    assert np.array_equal(last, found.frames[-1])
    assert (found.pts == times.pts[found.frames]).all()
    assert found.keyframe_pts[0] <= found.pts.min()


@given(st.integers(1, 10**9))
def test_the_last_place_is_the_last_start_for_any_length(num_starts: int) -> None:
    assert int((1 - 2**-53) * num_starts) == num_starts - 1


@pytest.mark.parametrize("short_clips", ["repeat_last", "loop"])
def test_a_clip_longer_than_its_video_is_marked_and_an_ordinary_tail_is_not(short_clips: Any) -> None:
    def marks(num_frames: int, sampling: Sampling, **spec: Any) -> list[bool]:
        segments = plan_segments(constant_rate(num_frames), ClipSpec(sampling, short_clips=short_clips, **spec))
        return [segment.is_short for segment in segments]

    assert marks(12, Sampling(10_000, stride=1)) == [True]
    assert marks(6, Sampling(4, stride=2)) == [True]
    assert marks(7, Sampling(4, stride=2)) == [False]
    assert marks(10, Sampling(3, stride=2)) == [False]
    assert marks(3, Sampling(4, stride=1), num_clips=5) == [True]
    times = constant_rate(40)
    part = plan_segments(times, ClipSpec(Sampling(16, stride=1), short_clips=short_clips), interval=(0.0, 0.2))
    assert [segment.is_short for segment in part] == [True]

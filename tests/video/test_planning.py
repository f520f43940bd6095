from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sampling.test_segments import constant_rate, frame_times
from tests.video.test_frame_folders import write_folder
from tests.videos import write_video
from vidcnn.errors import InternalError, StorageError, VideoError
from vidcnn.sampling.segments import ClipSpec, FrameTimes, Sampling, plan_segments
from vidcnn.sources import Listing, SourceVideo
from vidcnn.sources.keys import VideoKey
from vidcnn.video import planning
from vidcnn.video.planning import PlannedSegment, PlanSettings, group_segments, plan_each, plan_video, video_key

SETTINGS = PlanSettings(ClipSpec(Sampling(4, stride=2)), image_fps=10, max_pixels=10**6)


def listed(*sources: Path) -> list[SourceVideo]:
    return list(Listing([str(source) for source in sources]))


def test_a_plan_has_all_that_decoding_needs(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 40)
    (video,) = listed(path)
    segments = plan_video(video, SETTINGS)
    planned = segments[0]
    status = path.stat()
    assert planned.video == VideoKey("a.mp4", status.st_size, status.st_mtime_ns)
    assert planned.location == str(path)
    assert planned.version == (status.st_size, status.st_mtime_ns)
    assert planned.timing == "pts"
    assert not planned.is_frame_folder
    assert [(p.key.video, p.key.index, p.key.count) for p in segments] == [(video_key(video), 0, 1)]
    assert planned.segment.frames.tolist()[:2] == [[0, 2, 4, 6], [8, 10, 12, 14]]


def test_a_plan_travels_between_processes(tmp_path: Path) -> None:
    (video,) = listed(write_video(tmp_path / "a.mp4", 40))
    (planned,) = plan_video(video, SETTINGS)
    copy: PlannedSegment = pickle.loads(pickle.dumps(planned))
    assert copy.key == planned.key
    assert np.array_equal(copy.segment.pts, planned.segment.pts)


def test_a_video_planned_again_has_the_same_plan(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mkv", 300, keyframe_interval=20)
    (video,) = listed(path)
    settings = replace(SETTINGS, clips=ClipSpec(Sampling(4, stride=1), step=1))
    first, again = plan_video(video, settings), plan_video(video, settings)
    assert len(first) > 1
    for one, other in zip(first, again, strict=True):
        assert one.key == other.key
        assert np.array_equal(one.segment.frames, other.segment.frames)


def test_a_folder_of_images_is_a_video(tmp_path: Path) -> None:
    write_folder(tmp_path / "a", 10)
    (video,) = listed(tmp_path)
    (planned,) = plan_video(video, SETTINGS)
    assert planned.is_frame_folder
    assert planned.version is None
    assert planned.segment.frames.tolist() == [[0, 2, 4, 6], [8, 8, 8, 8]]
    assert planned.segment.end_seconds.tolist() == [0.8, 1.0]


def test_a_folder_whose_first_image_is_above_the_limit_is_too_large(tmp_path: Path) -> None:
    write_folder(tmp_path / "a", 3)
    (video,) = listed(tmp_path)
    with pytest.raises(VideoError) as info:
        plan_video(video, replace(SETTINGS, max_pixels=100))
    assert info.value.kind == "too_large"


def test_what_the_listing_knows_to_be_bad_is_not_opened() -> None:
    bad = SourceVideo("a.mp4", "/nowhere/a.mp4", False, 0, 0, "unsafe", "it leads elsewhere")
    with pytest.raises(VideoError, match="it leads elsewhere") as info:
        plan_video(bad, SETTINGS)
    assert info.value.kind == "unsafe"


def test_a_file_that_changed_since_it_was_listed_is_not_planned(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 10)
    (video,) = listed(path)
    write_video(path, 20)
    with pytest.raises(VideoError, match="the file changed since it was listed") as info:
        plan_video(video, SETTINGS)
    assert info.value.kind == "changed"


def test_a_video_shorter_than_a_clip_is_an_error_where_short_clips_are_dropped(tmp_path: Path) -> None:
    (video,) = listed(write_video(tmp_path / "a.mp4", 5))
    dropping = replace(SETTINGS, clips=ClipSpec(Sampling(4, stride=2), short_clips="drop"))
    with pytest.raises(VideoError, match="the video has 5") as info:
        plan_video(video, dropping)
    assert info.value.kind == "too_short"


def test_a_fault_of_the_program_is_not_the_videos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (video,) = listed(write_video(tmp_path / "a.mp4", 5))
    monkeypatch.setattr(planning, "plan_segments", lambda *_, **__: None + 1)
    with pytest.raises(TypeError):
        plan_video(video, SETTINGS)
    with pytest.raises(InternalError, match=r"unexpected TypeError while planning a\.mp4: unsupported operand") as info:
        list(plan_each([video], SETTINGS, 1))
    assert "plan_segments" in info.value.__notes__[0]


def test_plans_come_in_the_order_of_the_videos_with_the_reason_where_there_is_none(tmp_path: Path) -> None:
    videos = listed(*(write_video(tmp_path / f"{number}.mp4", 20 + number) for number in range(5)))
    (tmp_path / "1.mp4").unlink()
    for num_at_once in (1, 4):
        plans = [plan for some in plan_each(videos, SETTINGS, num_at_once) for plan in some]
        assert isinstance(plans[1], VideoError)
        assert (plans[1].kind, plans[1].message) == ("changed", "the file does not exist")
        names = [plan[0].video.name for plan in plans if isinstance(plan, tuple)]
        assert names == ["0.mp4", "2.mp4", "3.mp4", "4.mp4"]


def test_what_could_not_be_listed_through_no_fault_of_its_own_is_not_judged() -> None:
    video = SourceVideo("a.mp4", "/a.mp4", False, 1, 1, None, "cannot be read: input/output error")
    with pytest.raises(StorageError, match="it cannot be read: input/output error"):
        plan_video(video, SETTINGS)


def test_the_time_allowed_grows_with_the_work(tmp_path: Path) -> None:
    small, large = (SourceVideo("a", "/a", False, size, 1, None, None) for size in (10**3, 10**10))
    assert SETTINGS.allowed_seconds(small) < 61 < 3600 < SETTINGS.allowed_seconds(large)
    short, long = planned_of(constant_rate(100))[0], planned_of(constant_rate(3000))[0]
    assert short.allowed_seconds(5.0) < long.allowed_seconds(5.0)


def test_the_way_from_where_decoding_starts_is_allowed_for() -> None:
    spec = ClipSpec(Sampling(16, stride=1), num_clips=1)
    often = np.arange(0, 40_000, 250)
    for keyframes, passed in ((often, 250), (np.array([0]), 20_000), (np.array([0, 19_000]), 1_000)):
        times = replace(constant_rate(40_000), keyframes=keyframes)
        (segment,) = plan_segments(times, spec)
        video = SourceVideo("a", "/a", False, 1, 1, None, None)
        by_time, by_order = (PlannedSegment.of(video, timing, segment) for timing in ("pts", "order"))
        assert by_time.num_passed_over == pytest.approx(passed, abs=150)
        assert by_order.num_passed_over == pytest.approx(20_000, abs=20)
        assert by_order.allowed_seconds(60.0) > 60 + 20_000 / 25
        assert replace(by_order, is_frame_folder=True).num_passed_over == 0
    (sparse,) = plan_segments(replace(constant_rate(40_000), keyframes=often), replace(spec, num_clips=4))
    assert PlannedSegment.of(video, "pts", sparse).num_passed_over < 4 * 250


def planned_of(times: FrameTimes, *, name: str = "a", num_frames: int = 16) -> list[PlannedSegment]:
    segments = plan_segments(times, ClipSpec(Sampling(num_frames, stride=1)))
    return [PlannedSegment(VideoKey(name, 1, 1), name, False, "pts", segment) for segment in segments]


def test_short_videos_share_a_unit_of_work_and_long_ones_have_many() -> None:
    short = [planned for name in "abcdefgh" for planned in planned_of(constant_rate(100), name=name)]
    assert [len(unit) for unit in group_segments(short, max_frames=300)] == [3, 3, 2]
    long = planned_of(constant_rate(10_000, keyframes=list(range(0, 10_000, 50))))
    assert len(long) > 15
    assert len(list(group_segments(long))) >= len(long) - 1  # the last may be small


def test_a_segment_that_seeks_counts_as_what_it_decodes() -> None:
    times = constant_rate(200_000, keyframes=list(range(0, 200_000, 100)))
    segments = plan_segments(times, ClipSpec(Sampling(2, stride=1), step=50_000), max_frames=10**9)
    sparse = [PlannedSegment(VideoKey("a", 1, 1), "a", False, "pts", segment) for segment in segments]
    assert len(list(group_segments(sparse * 10))) == 1


@given(st.lists(frame_times(), max_size=6), st.integers(1, 2000))
def test_every_segment_is_in_one_unit_in_the_order_given(videos: list[FrameTimes], max_frames: int) -> None:
    segments = [planned for times in videos for planned in planned_of(times, num_frames=4)]
    units = list(group_segments(segments, max_frames=max_frames))
    assert [planned for unit in units for planned in unit] == segments
    assert all(units)

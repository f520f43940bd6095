from __future__ import annotations

import pytest

from vidcnn.reporting.progress import RunProgress, duration_text, progress_line


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def test_the_rest_is_told_from_the_bytes_that_are_done() -> None:
    clock = Clock()
    progress = RunProgress(num_videos=2, size_bytes=400, now=clock)
    assert progress.remaining_seconds is None
    clock.seconds = 10
    progress.add_segment("long", 300, 3, num_clips=10, num_predictions=9, errors={"truncated": 1})
    assert progress.fraction == pytest.approx(0.25)
    assert progress.remaining_seconds is None
    assert (progress.num_videos_done, progress.num_clips, progress.num_errors) == (0, 10, 1)
    clock.seconds = 20
    progress.add_segment("long", 300, 3, num_clips=10, num_predictions=10, errors={})
    progress.add_segment("long", 300, 3, num_clips=10, num_predictions=10, errors={})
    assert progress.num_videos_done == 1
    assert progress.fraction == pytest.approx(0.75)
    assert progress.remaining_seconds == pytest.approx(5)  # 200 bytes in 10 s, and 100 are left
    assert progress.clips_per_second == pytest.approx(3.0)
    progress.add_segment("short", 100, 1, num_clips=1, num_predictions=0, errors={"truncated": 1})
    assert progress.fraction == 1.0
    assert (progress.num_predictions, progress.errors, progress.num_bad_videos) == (29, {"truncated": 2}, 2)


def test_the_line_says_what_matters() -> None:
    clock = Clock()
    progress = RunProgress(num_videos=1200, size_bytes=1200, now=clock)
    assert progress_line(progress) == "0/1,200 videos · 0 clips · starting"
    clock.seconds = 6
    progress.add_segment("first", 1, 1, num_clips=4, num_predictions=4, errors={})
    assert "left" not in progress_line(progress)  # the first rows come in a burst
    clock.seconds = 12
    for index in range(299):
        progress.add_segment(
            str(index), 1, 1, num_clips=4, num_predictions=3, errors={"timeout": 1} if index == 7 else {}
        )
    clock.seconds = 14
    assert progress_line(progress) == "300/1,200 videos · 1,200 clips · 150.0 clips/s · 1 errors · 24 s left"


def test_while_the_source_is_being_listed_nobody_knows_which_share_is_done() -> None:
    clock = Clock()
    progress = RunProgress(num_videos=100, size_bytes=100, now=clock)
    progress.expect(400)
    progress.list_more(100, 100, is_listed=False)
    for index in range(100):
        clock.seconds = index / 10
        progress.add_segment(str(index), 1, 1, num_clips=4, num_predictions=4, errors={})
    assert (progress.fraction, progress.remaining_seconds) == (0.0, None)
    assert progress_line(progress).startswith("100 videos of at least 100, listing goes on · 400 clips")
    progress.list_more(1000, 1000, is_listed=False)
    assert "100 videos of at least 1,000, listing goes on" in progress_line(progress)
    progress.list_more(400, 400, is_listed=True)
    assert progress.fraction == pytest.approx(0.25)
    assert progress.remaining_seconds == pytest.approx(30, rel=0.1)
    assert progress_line(progress).startswith("100/400 videos · 400 clips")


def test_a_bad_video_is_counted_once_however_many_of_its_segments_are_bad() -> None:
    progress = RunProgress(num_videos=2, size_bytes=2)
    for video, number in (("long", 3), ("short", 1), ("good", 1)):
        for _ in range(number):
            errors = {"truncated": 1} if video != "good" else {}
            progress.add_segment(video, 1, number, num_clips=2, num_predictions=1, errors=errors)
    assert progress.num_bad_videos == 2


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.31, "0.3 s"),
        (8.4, "8 s"),
        (60, "1 min"),
        (200, "3 min 20 s"),
        (18_720, "5 h 12 min"),
        (273_600, "3 d 4 h"),
    ],
)
def test_times_are_written_as_people_do(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text

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

from __future__ import annotations

import pytest

from vidcnn.sources import SourceVideo
from vidcnn.sources.settling import is_settling

NOW = 1_800_000_000_000_000_000
SECOND = 1_000_000_000


def video(age_seconds: float, location: str = "/videos/a.mp4") -> SourceVideo:
    return SourceVideo("a.mp4", location, False, 10, NOW - round(age_seconds * SECOND), None, None)


@pytest.mark.parametrize(
    ("age_seconds", "settle_seconds", "waits"),
    [
        (0, 120, True),
        (119.9, 120, True),
        (120, 120, False),
        (1e6, 120, False),
        (0, 0, False),
        (0.2, 0.5, True),
        (-5, 120, True),
        (-120, 120, False),
        (-1e9, 120, False),
    ],
)
def test_a_video_waits_for_as_long_as_it_may_still_be_written(
    age_seconds: float, settle_seconds: float, waits: bool
) -> None:
    assert is_settling(video(age_seconds), settle_seconds, NOW) == waits


def test_a_video_from_a_clock_that_is_ahead_waits_for_twice_the_time_at_most() -> None:
    ahead = video(-100)
    assert is_settling(ahead, 120, NOW)
    assert not is_settling(ahead, 120, NOW + 220 * SECOND)


def test_objects_in_object_storage_are_whole_from_the_start() -> None:
    assert not is_settling(video(0, "s3://bucket/a.mp4?region=eu"), 120, NOW)

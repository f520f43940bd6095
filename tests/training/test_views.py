from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.training.footage import FULL_SIZE, broken, film
from tests.videos import number_of
from vidcnn.annotations import LabelledVideo
from vidcnn.errors import VideoError
from vidcnn.sampling.preprocessing import Preprocessing
from vidcnn.sampling.segments import ClipSpec, Sampling
from vidcnn.training.views import ViewSettings, load_views, three_crops
from vidcnn.video.planning import PlanSettings


def settings(preprocessing: Preprocessing = FULL_SIZE, num_crops: Any = 1, num_clips: int = 3) -> ViewSettings:
    spec = ClipSpec(Sampling(4, stride=2), num_clips=num_clips)
    return ViewSettings(PlanSettings(spec, 25.0, 8192 * 8192), preprocessing, num_crops, False)


def load(video: LabelledVideo, with_settings: ViewSettings) -> list[np.ndarray]:
    views = load_views(video, with_settings).clips
    assert all(isinstance(view, np.ndarray) for view in views)
    return [view for view in views if isinstance(view, np.ndarray)]


def test_clips_are_spread_over_the_video(tmp_path: Path) -> None:
    views = load(film(tmp_path, "a.mp4", 27), settings())
    assert [view.shape for view in views] == [(1, 4, 64, 64, 3)] * 3
    shown = [[number_of(frame) for frame in view[0]] for view in views]
    assert shown == [[0, 2, 4, 6], [10, 12, 14, 16], [20, 22, 24, 26]]


def test_a_video_or_a_part_of_one_that_is_shorter_than_a_clip_is_named(tmp_path: Path) -> None:
    assert [load_views(film(tmp_path, f"{n}.mp4", n), settings()).is_short for n in (6, 7)] == [True, False]
    part = replace(film(tmp_path, "a.mp4", 60, rate=10), start_seconds=2.0, end_seconds=2.5)
    assert load_views(part, settings()).is_short


def test_clips_of_an_interval_stay_in_it(tmp_path: Path) -> None:
    video = replace(film(tmp_path, "a.mp4", 60, rate=10), start_seconds=2.0, end_seconds=3.0)
    views = load(video, settings(num_clips=2))
    assert [[number_of(frame) for frame in view[0]] for view in views] == [[20, 22, 24, 26], [23, 25, 27, 29]]


@pytest.mark.parametrize("size", [(48, 96), (96, 48)])
def test_three_crops_reach_from_end_to_end_with_the_usual_one_between(size: tuple[int, int], tmp_path: Path) -> None:
    video = film(tmp_path, "a.mp4", 20, size=size)
    preprocessing = replace(FULL_SIZE, resize=32, crop=(32, 32))
    whole = load(video, settings(replace(preprocessing, resize=(size[0] * 2 // 3, size[1] * 2 // 3), crop=(32, 32)), 3))
    for one, three in zip(load(video, settings(preprocessing)), whole, strict=True):
        assert three.shape == (3, 4, 32, 32, 3)
        assert np.array_equal(one[0], three[1])
        assert not np.array_equal(three[0], three[2])


def test_crops_lie_along_the_longer_side() -> None:
    clip = np.arange(2 * 10 * 6 * 3, dtype=np.uint16).astype(np.uint8).reshape(2, 10, 6, 3)
    preprocessing = replace(FULL_SIZE, resize=8, crop=(4, 4))
    tall = three_crops(clip, preprocessing)
    for crop, top in zip(tall, (0, 3, 6), strict=True):
        assert np.array_equal(crop, clip[:, top : top + 4, 1:5])
    wide = three_crops(clip.transpose(0, 2, 1, 3), preprocessing)
    assert np.array_equal(wide, tall.transpose(0, 1, 3, 2, 4))


def test_a_bad_video_is_one_failure(tmp_path: Path) -> None:
    (error,) = load_views(broken(tmp_path, "bad.mp4"), settings()).clips
    assert isinstance(error, VideoError)
    assert error.kind == "unreadable"
    late = replace(film(tmp_path, "a.mp4", 10, rate=10), start_seconds=5.0)
    (error,) = load_views(late, settings()).clips
    assert isinstance(error, VideoError)
    assert error.message == "the interval begins at 5 s, and the video ends at 1 s"

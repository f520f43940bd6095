from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tests.training.footage import broken, clip_settings, film, training_data
from vidcnn.sampling.segments import Sampling
from vidcnn.training import first_samples as module
from vidcnn.training.first_samples import find_no_sample


def test_a_run_with_a_good_video_among_bad_ones_has_something_to_train_on(tmp_path: Path) -> None:
    videos = [broken(tmp_path, f"bad{number}.mp4") for number in range(5)]
    assert find_no_sample(training_data([*videos, film(tmp_path, "good.mp4")])) is None


def test_clips_longer_than_every_video_are_told_with_what_to_change(tmp_path: Path) -> None:
    settings = replace(clip_settings(Sampling(16, stride=4)), short_clips="drop")
    videos = [film(tmp_path, f"{number}.mp4", 12) for number in range(3)]
    failure = find_no_sample(training_data(videos, clips=settings))
    assert failure is not None
    assert failure.message.startswith("no clip can be taken of any of the videos: ")
    assert "61 frames" in failure.message
    assert "lower --num-frames or --stride, or give --short-clips repeat_last" in failure.hint
    assert find_no_sample(training_data(videos, clips=replace(settings, short_clips="loop"))) is None


def test_of_many_videos_the_first_ones_are_tried(tmp_path: Path) -> None:
    bad = [broken(tmp_path, f"{number}.mp4") for number in range(module._NUM_VIDEOS + 1)]
    failure = find_no_sample(training_data(bad))
    assert failure is not None
    assert failure.message.startswith(f"no clip can be taken of any of the first {module._NUM_VIDEOS} videos: ")
    assert "vidcnn infer DIR --dry-run" in failure.hint

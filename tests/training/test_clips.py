from __future__ import annotations

import os
import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.training.footage import FULL_SIZE, broken, clip_settings, film, labelled
from tests.videos import number_of
from vidcnn.annotations import LabelledVideo
from vidcnn.sampling.preprocessing import Preprocessing
from vidcnn.sampling.segments import ClipSpec, Sampling
from vidcnn.training import clips as module
from vidcnn.training.augment import Augmentation, augment_clip
from vidcnn.training.cache import FrameCache
from vidcnn.training.cache_folder import CacheFolder
from vidcnn.training.clips import ClipReader, ClipSettings, LoadedClips
from vidcnn.training.samples import Sample
from vidcnn.training.views import ViewSettings
from vidcnn.training.views import load_views as load_test_views
from vidcnn.video.planning import PlanSettings

AS_IT_IS = Augmentation((64, 64))
RESIZED = Preprocessing((40, 56), (32, 32), (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


def samples(*places: float, video: int = 0) -> list[Sample]:
    return [Sample(number, video, place, seed=100 + number) for number, place in enumerate(places)]


def numbers(loaded: LoadedClips) -> list[list[int]]:
    return [[number_of(frame) for frame in clip] for clip in loaded.pixels]


def load(
    reader: ClipReader, video: LabelledVideo, *places: float, augmentation: Augmentation = AS_IT_IS
) -> LoadedClips:
    return reader.load_samples([video] * len(places), samples(*places), augmentation)


def cached_reader(directory: Path, settings: ClipSettings, num_uses: int = 50) -> ClipReader:
    return ClipReader(settings, FrameCache(CacheFolder(directory / "cache", 10**9, time.time())), num_uses)


@pytest.mark.parametrize("is_cached", [False, True])
def test_samples_show_the_frames_at_their_place(is_cached: bool, tmp_path: Path) -> None:
    video = film(tmp_path, "a.mp4", 20, label=1)
    settings = clip_settings(Sampling(4, stride=3))  # a clip spans 10 frames: it can begin at frames 0 to 10
    reader = cached_reader(tmp_path, settings) if is_cached else ClipReader(settings)
    loaded = load(reader, video, 0.0, 0.5, 0.999999, 0.0909, 0.0910)
    assert loaded.failures == ()
    starts = [256 + start for start in (0, 5, 10, 0, 1)]
    assert numbers(loaded) == [[start, start + 3, start + 6, start + 9] for start in starts]


@pytest.mark.parametrize("is_cached", [False, True])
def test_samples_of_an_interval_stay_in_it(is_cached: bool, tmp_path: Path) -> None:
    whole = film(tmp_path, "a.mp4", 60, rate=10)
    video = replace(whole, start_seconds=2.0, end_seconds=3.0)  # frames 20 to 29
    settings = clip_settings(Sampling(4, stride=2))
    reader = cached_reader(tmp_path, settings) if is_cached else ClipReader(settings)
    assert numbers(load(reader, video, 0.0, 0.9999)) == [[20, 22, 24, 26], [23, 25, 27, 29]]
    assert numbers(load(reader, replace(whole, start_seconds=5.8), 0.9)) == [[58, 58, 58, 58]]
    assert numbers(load(reader, whole, 0.0)) == [[0, 2, 4, 6]]
    following = replace(whole, start_seconds=3.0, end_seconds=4.0)
    assert numbers(load(reader, following, 0.0)) == [[30, 32, 34, 36]]
    views = reader.load_views(video, 2)
    assert numbers(views) == [[20, 22, 24, 26], [23, 25, 27, 29]]


def test_an_interval_past_the_end_is_a_failure_and_says_where_the_video_ends(tmp_path: Path) -> None:
    video = replace(film(tmp_path, "a.mp4", 20, rate=10), start_seconds=2.5)
    for loaded in (load(ClipReader(clip_settings()), video, 0.5), ClipReader(clip_settings()).load_views(video, 3)):
        ((index, error),) = loaded.failures
        assert (index, error.kind, error.message) == (
            0,
            "too_short",
            "the interval begins at 2.5 s, and the video ends at 2 s",
        )


@pytest.mark.parametrize(
    ("sampling", "values"),
    [
        (Sampling(4, stride=3), {}),
        (Sampling(6, fps=12), {}),
        (Sampling(6, fps=100), {}),
        (Sampling(30, stride=2), {}),
        (Sampling(5, fps=10), {"times": [Fraction(t, 100) for t in (0, 3, 4, 20, 21, 22, 50, 90, 91, 120)]}),
    ],
)
def test_cached_and_uncached_clips_are_bit_equal(sampling: Sampling, values: dict[str, Any], tmp_path: Path) -> None:
    video = film(tmp_path, "a.mkv", 10 if values else 40, size=(48, 80), **values)
    settings = clip_settings(sampling, RESIZED)
    augmentation = Augmentation((32, 32), crop_scale=(0.3, 1.0), flip=True, colour_jitter=0.4)
    direct, cached = ClipReader(settings), cached_reader(tmp_path, settings)
    for places in ((0.1, 0.7, 0.3, 0.999), (0.2, 0.5)):
        first, second = (load(reader, video, *places, augmentation=augmentation) for reader in (direct, cached))
        assert first.failures == second.failures == ()
        assert np.array_equal(first.pixels, second.pixels)
        assert np.array_equal(first.flipped, second.flipped)
    assert np.array_equal(direct.load_views(video, 3).pixels, cached.load_views(video, 3).pixels)
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_a_cached_video_is_decoded_once_by_all_readers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    video = film(tmp_path, "a.mp4", 20)
    first = load(cached_reader(tmp_path, clip_settings()), video, 0.5)

    def fail(request: Any) -> Any:
        raise AssertionError("decoded again")

    monkeypatch.setattr(module, "decode_segment", fail)
    assert np.array_equal(load(cached_reader(tmp_path, clip_settings()), video, 0.5).pixels, first.pixels)
    for other in (clip_settings(Sampling(4, fps=7)), clip_settings(preprocessing=RESIZED)):
        with pytest.raises(AssertionError, match="decoded again"):
            load(cached_reader(tmp_path, other), video, 0.5)


def test_frames_that_are_cached_for_two_rates_are_kept_apart(tmp_path: Path) -> None:
    video = film(tmp_path, "a.mp4", 20, rate=30)  # ten ticks of either rate
    for fps, expected in ((15, [12, 14, 16, 18]), (14, [12, 15, 17, 19])):
        reader = cached_reader(tmp_path, clip_settings(Sampling(4, fps=fps)))
        assert numbers(load(reader, video, 0.999)) == [expected]
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_a_file_that_changed_is_not_taken_from_the_cache_of_what_it_was(tmp_path: Path) -> None:
    settings = clip_settings()
    load(cached_reader(tmp_path, settings), film(tmp_path, "a.mp4", 20), 0.5)
    listed = film(tmp_path, "a.mp4", 20, label=2)
    assert numbers(load(cached_reader(tmp_path, settings), listed, 0.0)) == [[512, 514, 516, 518]]
    os.utime(listed.video.location, (1, 1))
    ((_, error),) = load(cached_reader(tmp_path, settings), listed, 0.0).failures
    assert error.kind == "changed"


def test_videos_longer_than_all_that_is_seen_of_them_are_not_cached(tmp_path: Path) -> None:
    video = film(tmp_path, "a.mp4", 41)
    settings = clip_settings()
    for num_uses, num_entries in ((10, 0), (11, 1)):
        load(cached_reader(tmp_path, settings, num_uses), video, 0.5)
        assert len(list((tmp_path / "cache").iterdir())) == num_entries


def test_a_video_too_large_to_be_held_in_memory_is_not_cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_CACHED_BYTES", 20 * 64 * 64 * 3)
    for num_frames, num_entries in ((21, 0), (20, 1)):
        load(cached_reader(tmp_path, clip_settings()), film(tmp_path, f"{num_frames}.mp4", num_frames), 0.5)
        assert len(list((tmp_path / "cache").iterdir())) == num_entries


def test_where_the_cache_has_no_room_clips_are_decoded_one_by_one(tmp_path: Path) -> None:
    video = film(tmp_path, "a.mp4", 20)
    reader = ClipReader(clip_settings(), FrameCache(CacheFolder(tmp_path / "cache", 1000, time.time())), 50)
    for _ in range(2):
        assert numbers(load(reader, video, 0.0)) == [[0, 2, 4, 6]]
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize("is_cached", [False, True])
def test_one_bad_video_fails_its_own_samples_only(is_cached: bool, tmp_path: Path) -> None:
    good, bad = film(tmp_path, "a.mp4", 20), broken(tmp_path, "b.mp4")
    reader = cached_reader(tmp_path, clip_settings()) if is_cached else ClipReader(clip_settings())
    wanted = [*samples(0.0), *samples(0.0, 0.5, video=1), *samples(0.999)]
    loaded = reader.load_samples([good, bad, bad, good], wanted, AS_IT_IS)
    assert [(index, error.kind) for index, error in loaded.failures] == [(1, "unreadable"), (2, "unreadable")]
    assert [numbers(loaded)[index] for index in (0, 3)] == [[0, 2, 4, 6], [13, 15, 17, 19]]
    views = reader.load_views(bad, 4)
    assert len(views.pixels) == 1
    assert [(index, error.kind) for index, error in views.failures] == [(0, "unreadable")]


@pytest.mark.parametrize("is_cached", [False, True])
def test_of_a_video_that_breaks_off_the_clips_before_are_good(is_cached: bool, tmp_path: Path) -> None:
    whole = film(tmp_path, "a.mp4", 60, container_options={"movflags": "faststart"})
    path = Path(whole.video.location)
    content = path.read_bytes()
    frames_begin = content.index(b"mdat")
    path.write_bytes(content[: frames_begin + (len(content) - frames_begin) // 2])
    video = labelled(path)
    reader = cached_reader(tmp_path, clip_settings()) if is_cached else ClipReader(clip_settings())
    loaded = load(reader, video, 0.0, 0.999, 0.1)
    assert [(index, error.kind) for index, error in loaded.failures] == [(1, "truncated")]
    assert [numbers(loaded)[index] for index in (0, 2)] == [[0, 2, 4, 6], [5, 7, 9, 11]]


def test_augmentation_follows_the_samples_seed_and_says_what_it_flipped(tmp_path: Path) -> None:
    video = film(tmp_path, "a.mp4", 20)
    augmentation = Augmentation((64, 64), flip=True)
    plain = load(ClipReader(clip_settings()), video, *[0.5] * 16)
    loaded = load(ClipReader(clip_settings()), video, *[0.5] * 16, augmentation=augmentation)
    assert 2 < loaded.flipped.sum() < 14
    for index, sample in enumerate(samples(*[0.5] * 16)):
        expected = augment_clip(plain.pixels[index], augmentation, sample.seed)
        assert loaded.flipped[index] == expected.is_flipped
        assert np.array_equal(loaded.pixels[index], expected.pixels)


def test_crops_come_from_all_over_the_resized_frame(tmp_path: Path) -> None:
    video = film(tmp_path, "a.mp4", 20, size=(48, 80))
    (whole,) = load(
        ClipReader(clip_settings(preprocessing=replace(RESIZED, crop=RESIZED.resize))),
        video,
        0.5,
        augmentation=Augmentation((40, 56)),
    ).pixels
    loaded = load(
        ClipReader(clip_settings(preprocessing=RESIZED)), video, *[0.5] * 20, augmentation=Augmentation((32, 32))
    )
    origins = set()
    for clip in loaded.pixels:
        fits = [
            (top, left)
            for top in range(9)
            for left in range(25)
            if np.array_equal(whole[:, top : top + 32, left : left + 32], clip)
        ]
        assert len(fits) == 1
        origins.add(fits[0])
    assert len(origins) > 12


def test_views_are_those_that_evaluation_scores(tmp_path: Path) -> None:
    video = film(tmp_path, "a.mp4", 33, size=(64, 96))
    settings = clip_settings(Sampling(4, fps=15), RESIZED)
    found = ClipReader(settings).load_views(video, 3)
    protocol = ViewSettings(PlanSettings(ClipSpec(settings.sampling, num_clips=3), 25.0, 10**8), RESIZED, 1, False)
    expected = [view for view in load_test_views(video, protocol).clips if isinstance(view, np.ndarray)]
    assert len(expected) == 3
    assert np.array_equal(found.pixels, np.concatenate(expected))


def test_the_times_of_videos_are_remembered_within_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    videos = [film(tmp_path, f"{number}.mp4", 20) for number in range(4)]
    read: list[str] = []
    read_times = module.read_times

    def counted(video: Any, **settings: Any) -> Any:
        read.append(video.name)
        return read_times(video, **settings)

    monkeypatch.setattr(module, "read_times", counted)
    monkeypatch.setattr(module, "_MAX_KNOWN_FRAMES", 50)
    reader = ClipReader(clip_settings(preprocessing=FULL_SIZE))
    for number in (0, 1, 1, 0, 2, 1, 0):
        load(reader, videos[number], 0.5)
    assert read == ["0.mp4", "1.mp4", "2.mp4", "0.mp4"]

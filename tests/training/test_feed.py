from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.training.footage import AS_NUMBERS, broken, film, training_data
from tests.videos import number_of
from vidcnn.training.augment import Augmentation, FlipRule
from vidcnn.training.batch import Batch, Worker
from vidcnn.training.clips import LoadedClips
from vidcnn.training.feed import BadSample, DirectLoader, Feed, TrainingData, _steps_ahead, fill_bad_samples, one_hot
from vidcnn.training.samples import SampleOrder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TrainingData:
    directory = tmp_path_factory.mktemp("videos")
    videos = [film(directory, f"{label}.mp4", 12, label=label) for label in range(4)]
    train = [*videos[:3], broken(directory, "bad.mp4", 3), *videos[3:]]
    return training_data(train, videos, order=SampleOrder(5, seed=1), **AS_NUMBERS)


def batches(data: TrainingData, worker: Worker, steps: range, size: int = 4) -> list[tuple[Batch, list[BadSample]]]:
    return list(Feed(data, DirectLoader(data), worker, size).batches(steps))


def test_batches_hold_the_frames_and_classes_of_their_samples_in_order(data: TrainingData) -> None:
    found = batches(data, Worker(), range(2, 9))
    assert [batch.samples for batch, _ in found] == [range(4 * step, 4 * step + 4) for step in range(2, 9)]
    assert any(bad for _, bad in found)
    for batch, bad in found:
        names = [data.train[data.order.sample(number).video].video.name for number in batch.samples]
        assert batch.weights.tolist() == [float(name != "bad.mp4") for name in names]
        assert [sample.video for sample in bad] == [name for name in names if name == "bad.mp4"]
        assert all((sample.kind, bool(sample.message)) == ("unreadable", True) for sample in bad)
        for row, number in enumerate(batch.samples):
            sample = data.order.sample(number)
            if batch.weights[row]:
                label = data.train[sample.video].labels[0]
                start = 256 * label + int(sample.place * 9)
                assert [number_of(frame) for frame in batch.pixels[row]] == list(range(start, start + 4))
                assert batch.targets[row].tolist() == [float(k == label) for k in range(4)]


def test_samples_that_are_longer_than_their_video_are_counted_and_no_bad_ones(tmp_path: Path) -> None:
    videos = [film(tmp_path, "short.mp4", 3), film(tmp_path, "long.mp4", 4), broken(tmp_path, "bad.mp4")]
    data = training_data(videos, order=SampleOrder(3, seed=1), **AS_NUMBERS)
    for batch, _ in batches(data, Worker(), range(3), size=6):
        names = [data.train[data.order.sample(number).video].video.name for number in batch.samples]
        assert batch.num_short == names.count("short.mp4") > 0


@pytest.mark.parametrize("count", [2, 3])
def test_workers_share_what_one_worker_has(count: int, data: TrainingData) -> None:
    alone = batches(data, Worker(), range(3), size=6)
    shares = [batches(data, Worker(rank, count), range(3), size=6) for rank in range(count)]
    for step, (whole, bad) in enumerate(alone):
        parts = [share[step][0] for share in shares]
        is_good = whole.weights > 0
        assert np.array_equal(np.concatenate([part.pixels for part in parts])[is_good], whole.pixels[is_good])
        assert np.array_equal(np.concatenate([part.weights for part in parts]), whole.weights)
        assert [sample for share in shares for sample in share[step][1]] == bad


def test_validation_videos_fall_to_exactly_one_worker_each(data: TrainingData) -> None:
    for count in (1, 2, 3, 7):
        seen = [
            [video for video, _ in Feed(data, DirectLoader(data), Worker(rank, count), 4).views()]
            for rank in range(count)
        ]
        assert sorted(video for videos in seen for video in videos) == [0, 1, 2, 3]


class _Recorder:
    """A loader that writes down in which order it is asked."""

    num_at_once = 1

    def __init__(self, data: TrainingData) -> None:
        self._direct = DirectLoader(data)
        self.asked: list[Any] = []

    def start_samples(self, samples: range) -> range:
        self.asked.append(samples)
        return samples

    def start_views(self, video: int) -> int:
        return video

    def finish(self, started: Any) -> LoadedClips:
        return self._direct.start_samples(started)


def test_the_next_three_steps_are_asked_for_while_one_is_computed(data: TrainingData) -> None:
    recorder = _Recorder(data)
    feed = Feed(data, recorder, Worker(), 6)
    found = feed.batches(range(10))
    pieces = [piece for first in (0, 6, 12, 18) for piece in (range(first, first + 4), range(first + 4, first + 6))]
    assert recorder.asked == pieces[:6]
    next(found)
    assert recorder.asked == pieces
    next(found)
    assert len(recorder.asked) == 10
    assert sum(1 for _ in found) == 8
    assert len(recorder.asked) == 20
    assert feed.seconds_waited > 0


def test_all_that_loads_has_something_to_do_as_far_as_memory_allows(data: TrainingData) -> None:
    def num_asked(num_at_once: int, clip_frames: int = 4) -> int:
        recorder = _Recorder(data)
        recorder.num_at_once = num_at_once
        sampling = replace(data.clips.sampling, num_frames=clip_frames)
        Feed(replace(data, clips=replace(data.clips, sampling=sampling)), recorder, Worker(), 6).batches(range(1000))
        return len(recorder.asked)

    assert [num_asked(number) for number in (1, 3, 4, 40, 41)] == [6, 6, 8, 80, 82]
    assert num_asked(1000, clip_frames=512) == 2 * (512 * 2**20 // (6 * 512 * 64 * 64 * 3))
    assert num_asked(1000, clip_frames=16_384) == 6  # a step needs what it needs


@given(st.integers(1, 10**4), st.integers(1, 512), st.integers(1, 10**9))
def test_steps_ahead_are_enough_for_all_that_loads_or_fill_the_memory(places: int, samples: int, size: int) -> None:
    steps = _steps_ahead(places, samples, size)
    pieces_per_step = -(-samples // 4)
    assert steps >= 3
    assert steps * pieces_per_step >= 2 * places or (steps + 1) * samples * size > 512 * 2**20
    assert steps == 3 or steps * samples * size <= 512 * 2**20
    assert steps == 3 or (steps - 1) * pieces_per_step < 2 * places


def test_a_mirrored_clip_is_of_the_class_that_its_mirror_image_is_of(data: TrainingData) -> None:
    mirrored = training_data(
        data.train,
        order=SampleOrder(5, seed=1),
        **AS_NUMBERS | {"augmentation": Augmentation((64, 64), flip=True), "flips": FlipRule(True, (1, 0, 2, 3))},
    )
    direct = DirectLoader(mirrored)
    counts = {False: 0, True: 0}
    for batch, _ in batches(mirrored, Worker(), range(8)):
        flipped = direct.start_samples(batch.samples).flipped
        for row, number in enumerate(batch.samples):
            label = mirrored.train[mirrored.order.sample(number).video].labels[0]
            if batch.weights[row] and label < 2:
                counts[bool(flipped[row])] += 1
                assert batch.targets[row].argmax() == (1 - label if flipped[row] else label)
    assert min(counts.values()) > 2


def test_a_bad_sample_becomes_its_partner_or_any_good_one() -> None:
    def filled(*weights: int) -> list[int]:
        pixels = np.arange(len(weights), dtype=np.uint8).reshape(-1, 1, 1, 1, 1).repeat(3, axis=4)
        targets = np.eye(len(weights), dtype=np.float32)
        fill_bad_samples(pixels, targets, np.array(weights, np.float32))
        assert targets.argmax(axis=1).tolist() == pixels[:, 0, 0, 0, 0].tolist()
        return [int(value) for value in pixels[:, 0, 0, 0, 0]]

    assert filled(1, 1, 1, 1) == [0, 1, 2, 3]
    assert filled(1, 0, 0, 1) == [0, 0, 3, 3]
    assert filled(0, 0, 1, 1) == [2, 3, 2, 3]
    assert filled(1, 1, 0) == [0, 1, 0]
    assert filled(0, 0) == [0, 1]


def test_targets_have_a_one_for_each_class() -> None:
    assert one_hot([(1,), (), (0, 2)], 3).tolist() == [[0, 1, 0], [0, 0, 0], [1, 0, 1]]

from __future__ import annotations

import pickle
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidcnn.training.samples import SampleOrder


def videos(order: SampleOrder, start: int, stop: int) -> list[int]:
    return [order.sample(number).video for number in range(start, stop)]


@given(st.integers(1, 40), st.integers(0, 2**32), st.integers(1, 3), st.integers(0, 5))
def test_an_epoch_takes_every_video_as_often_as_wanted_in_turns_of_two(
    num_videos: int, seed: int, repeats: int, epoch: int
) -> None:
    order = SampleOrder(num_videos, seed, repeats)
    taken = videos(order, epoch * order.epoch_size, (epoch + 1) * order.epoch_size)
    assert Counter(taken) == dict.fromkeys(range(num_videos), repeats)
    for start in range(0, len(taken), 2 * repeats):
        turn = taken[start : start + 2 * repeats]
        assert len(set(turn)) == min(2, num_videos - start // repeats)
        assert turn == (turn[:2] if len(set(turn)) == 2 else turn[:1]) * repeats


@given(st.integers(0, 2**40), st.integers(0, 2**32))
def test_a_sample_depends_on_its_number_and_the_seed_alone(number: int, seed: int) -> None:
    used = SampleOrder(10, seed, 2, classes=[0] * 3 + [1] * 7)
    for other in (number + 1, 0, number + 21):
        used.sample(other)
    fresh = pickle.loads(pickle.dumps(SampleOrder(10, seed, 2, classes=[0] * 3 + [1] * 7)))
    assert used.sample(number) == fresh.sample(number)
    assert 0 <= used.sample(number).place < 1
    assert 0 <= used.sample(number).seed < 2**63


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    order = SampleOrder(30, 0)
    assert videos(order, 0, 30) != videos(order, 30, 60)
    assert videos(order, 0, 30) != videos(SampleOrder(30, 1), 0, 30)
    places = {order.sample(number).place for number in range(300)}
    assert len(places) == 300
    assert 0.45 < np.mean(list(places)) < 0.55


@given(st.lists(st.integers(0, 4), min_size=1, max_size=30), st.integers(0, 1000), st.integers(1, 4))
def test_balanced_sampling_takes_classes_equally_often_and_the_videos_of_a_class_in_turn(
    classes: list[int], seed: int, num_epochs: int
) -> None:
    order = SampleOrder(len(classes), seed, classes=classes)
    taken = videos(order, 0, num_epochs * len(classes))
    by_class = Counter(classes[video] for video in taken)
    assert max(by_class.values()) - min(by_class[index] for index in set(classes)) <= 1
    by_video = Counter(taken)
    for index in set(classes):
        counts = [by_video[video] for video, other in enumerate(classes) if other == index]
        assert max(counts) - min(counts) <= 1


def test_impossible_orders_are_refused() -> None:
    with pytest.raises(ValueError, match=r"num_videos \(0\) and repeats \(1\) must be > 0"):
        SampleOrder(0, 0)
    with pytest.raises(ValueError, match="2 classes for 3 videos"):
        SampleOrder(3, 0, classes=[0, 1])

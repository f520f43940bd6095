"""Prints stay nearly the same where a video is encoded again, and differ where another one is shown."""

from __future__ import annotations

import cv2
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.scans import moving_picture
from vidcnn.video.likeness import NUM_PICTURES, picture_bits, print_of, print_places


def bits_of(picture: np.ndarray) -> int:
    bits = picture_bits(picture)
    assert bits is not None
    return bits


def test_a_picture_that_is_scaled_and_noisy_keeps_nearly_all_bits() -> None:
    picture = moving_picture(0.0, (64, 64))
    noise = np.random.default_rng(0).normal(0, 4, (64, 64))
    other = cv2.resize(cv2.resize(picture, (40, 50)), (64, 64)) + noise
    assert (bits_of(picture) ^ bits_of(np.clip(other, 0, 255).astype(np.uint8))).bit_count() <= 4


def test_other_pictures_differ_in_about_half_of_their_bits() -> None:
    pictures = [bits_of(moving_picture(0.0, (64, 64), seed)) for seed in range(12)]
    distances = [(one ^ other).bit_count() for one in pictures for other in pictures if one != other]
    assert 20 < np.mean(distances) < 44
    assert min(distances) > 10


def test_nothing_can_be_seen_in_a_picture_without_contrast() -> None:
    assert picture_bits(np.full((64, 64), 16, np.uint8)) is None
    assert picture_bits(np.full((64, 64), 16, np.uint8) + np.eye(64, dtype=np.uint8)) is None


def test_a_print_has_the_bits_of_its_places_and_needs_half_of_them() -> None:
    places = [0, 0, 1, 1, 2, 2, 3, 3]
    whole = print_of([1, 2, 3, 4], places)
    assert whole == b"".join(value.to_bytes(8, "big") for value in (1, 1, 2, 2, 3, 3, 4, 4))
    assert print_of([1, None, None, 4], places) is not None
    assert print_of([1, None, None, None], places) is None


def test_places_are_spread_over_the_video() -> None:
    assert print_places(8, 8.0) == [0, 1, 2, 3, 4, 5, 6, 7]
    assert print_places(80, 80.0) == [5, 15, 25, 35, 45, 55, 65, 75]
    assert print_places(2, 1.5) == [0, 0, 0, 1, 1, 1, 1, 1]


@given(st.integers(1, 100_000))
def test_a_frame_more_does_not_move_places_of_videos_of_whole_seconds(seconds: int) -> None:
    places = print_places(seconds + 1, float(seconds))
    assert places == print_places(seconds + 1, seconds + 0.005)
    assert len(places) == NUM_PICTURES
    assert places == sorted(places)
    assert 0 <= places[0] <= places[-1] <= seconds

from __future__ import annotations

import numpy as np
import pytest

from tests.nasty_names import is_harmless
from vidcnn.reporting.timeline_text import covered, mean_of, moment, strip, timeline_text

NONE = np.empty((0, 2))


def test_a_strip_shows_when_a_class_has_which_score() -> None:
    starts = np.arange(6.0)
    scores = {"run": np.array([0, 0, 1, 1, 0, 0.5]), "jump": np.array([1.0, 1, 0, 0, 1, 0.5])}
    text = timeline_text(starts, starts + 1, scores, NONE, columns=16 + 2 + 30)
    first, second, times = text.splitlines()
    assert first == f"jump              {'█' * 10}{' ' * 10}{'█' * 5}{'▄' * 5}"
    assert second == f"run               {' ' * 10}{'█' * 10}{' ' * 5}{'▄' * 5}"
    assert times.split() == ["0:00:00.0", "0:00:03.0", "0:00:06.0"]
    assert {len(line) for line in text.splitlines()} == {48}


def test_what_no_clip_covers_is_a_dot_and_errors_have_a_strip() -> None:
    text = timeline_text(
        np.array([10.0]), np.array([11.0]), {"a": np.array([1.0])}, np.array([[12.0, 14.0]]), columns=16 + 2 + 32
    )
    strips = [line[18:] for line in text.splitlines()[:2]]
    assert strips == ["█" * 8 + "·" * 24, " " * 16 + "×" * 16]
    assert text.splitlines()[2].split()[0] == "0:00:10.0"


def test_overlapping_clips_count_as_their_mean() -> None:
    covers = covered(np.array([0.0, 1.0, 2.0, 3.0]), np.array([0.0, 1.0]), np.array([2.0, 2.0]))
    assert covers.tolist() == [[True, False], [True, True], [False, False]]
    np.testing.assert_array_equal(mean_of(covers, np.array([0.5, 1.0])), [0.5, 0.75, np.nan])


def test_of_many_classes_the_highest_are_shown_and_no_name_breaks_the_strip() -> None:
    scores = {f"\x1b[31m{number:02}日本語" * 3: np.array([number / 40]) for number in range(30)}
    text = timeline_text(np.zeros(1), np.ones(1), scores, NONE)
    assert is_harmless(text)
    assert len(text.splitlines()) == 11
    assert text.startswith(r"\x1b[31m29")


def test_without_times_there_is_no_strip() -> None:
    assert timeline_text(np.empty(0), np.empty(0), {}, NONE) == "no clip of it has a time"


def test_blocks_grow_with_the_score() -> None:
    assert strip(np.array([0, 0.1, 0.5, 0.99, 1.0, np.nan])) == " ▁▄██·"


@pytest.mark.parametrize(
    ("seconds", "text"), [(-1.0, "0:00:00.0"), (59.96, "0:01:00.0"), (3661.04, "1:01:01.0"), (360000, "100:00:00.0")]
)
def test_a_moment_is_written_as_players_write_it(seconds: float, text: str) -> None:
    assert moment(seconds) == text

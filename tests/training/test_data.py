from __future__ import annotations

from pathlib import Path

import pytest

from tests.annotations.data import make
from vidcnn.config import TrainSpec
from vidcnn.errors import UsageError
from vidcnn.training.data import flip_rule, read_data, split_settings


def test_data_and_a_place_for_the_run_have_to_be_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no --data to train on"):
        read_data(TrainSpec(out="run"))
    with pytest.raises(UsageError, match="there is no --out for the run"):
        read_data(TrainSpec(data=str(tmp_path)))


def test_the_videos_are_read_and_split_as_the_spec_says(tmp_path: Path) -> None:
    make(tmp_path, *(f"{label}/{number}.mp4" for label in "ab" for number in range(10)))
    found = read_data(TrainSpec(data=str(tmp_path), out="run", val_fraction=0.5))
    assert (found.counts("train"), found.counts("val")) == ((5, 5), (5, 5))


def test_a_split_that_cannot_be_meant_is_a_wrong_usage() -> None:
    assert split_settings(0.2, None, "fold=1", 3).conditions == {"fold": {"1"}}
    with pytest.raises(UsageError, match="val_where"):
        split_settings(0.2, None, "fold", 3)


LABELS = ("turn_left", "turn_right", "stand")


def test_mirroring_clips_of_left_and_right_is_refused_until_it_is_said_what_becomes_of_them() -> None:
    with pytest.raises(UsageError, match=r"distinguish left from right \(turn_left, turn_right\)"):
        flip_rule(TrainSpec(), LABELS)
    assert flip_rule(TrainSpec(), ("up", "down")).is_on
    assert not flip_rule(TrainSpec(flip="off"), LABELS).is_on
    assert flip_rule(TrainSpec(flip_pairs="turn_left=turn_right"), LABELS).is_on


@pytest.mark.parametrize("label", ["Left", "to the left", "kick-left", "a/right", "left.hand"])
def test_a_side_is_seen_in_a_name_however_its_words_are_divided(label: str) -> None:
    with pytest.raises(UsageError, match="mirrored"):
        flip_rule(TrainSpec(), ("stand", label))


def test_a_word_that_only_holds_a_side_is_none() -> None:
    assert flip_rule(TrainSpec(), ("leftover", "bright")).is_on

from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from vidcnn.training.state import RunSettings, RunState


def test_a_state_travels_from_a_worker_to_those_who_watch() -> None:
    state = RunState(7, 1.5, 3, loss=0.25, phase="validating")
    assert pickle.loads(pickle.dumps(state)) == state


def test_a_run_trains_until_it_says_otherwise_and_has_no_figures_before_the_first_note() -> None:
    state = RunState(0, 0.0, 0)
    assert (state.phase, state.loss, state.accuracy, state.score, state.num_bad) == ("training", None, None, None, 0)


def test_what_a_run_was_told_does_not_change_under_way() -> None:
    settings = RunSettings(Path("run"), 10, 100, 60.0, 3)
    assert settings.mirror is None
    with pytest.raises(FrozenInstanceError):
        settings.note_steps = 1  # type: ignore[misc]

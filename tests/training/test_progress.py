from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from vidcnn.training.progress import progress_line
from vidcnn.training.state import RunState


def line(state: RunState, *, multi_label: bool = False) -> str:
    plan: Any = SimpleNamespace(
        spec=SimpleNamespace(epochs=4),
        recipe=SimpleNamespace(num_steps=2000, batch_size=8, multi_label=multi_label),
        steps_per_epoch=500,
    )
    return progress_line(plan, state)


def test_a_run_that_has_just_begun_says_only_where_it_is() -> None:
    assert line(RunState(0, 0.0, 0)) == "epoch 0.0/4 · step 0/2,000"


def test_speed_and_time_left_count_from_where_this_process_began() -> None:
    state = RunState(1000, 100.0, 500, loss=0.1234, accuracy=0.5, waiting=0.25)
    assert line(state).split(" · ") == [
        "epoch 2.0/4",
        "step 1,000/2,000",
        "loss 0.123",
        "top-1 50.0%",
        "40.0 clips/s",
        "waiting for clips 25%",
        "3 min 20 s left",
    ]


def test_while_it_validates_that_is_said_in_place_of_the_time_left() -> None:
    state = RunState(1000, 100.0, 500, score=0.75, num_bad=1200, phase="validating")
    assert line(state).split(" · ")[2:] == [
        "validation 75.0%",
        "40.0 clips/s",
        "waiting for clips 0%",
        "1,200 bad samples",
        "validating",
    ]


def test_top_1_means_nothing_where_a_sample_has_several_classes() -> None:
    assert "top-1" not in line(RunState(1, 1.0, 0, accuracy=0.5), multi_label=True)


def test_at_the_end_no_time_is_left() -> None:
    assert "left" not in line(RunState(2000, 100.0, 0))

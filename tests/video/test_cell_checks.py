"""Plans and batches that no honest process sends."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.video.test_attempts import DECODE, segment, video
from vidcnn.errors import VideoError
from vidcnn.video.batching import ClipBatch, ClipRef
from vidcnn.video.cell_checks import are_plans, is_batch
from vidcnn.video.planning import PlannedSegment
from vidcnn.video.stopwatch import StageTimes

VIDEOS = [video("a"), video("b")]
UNIT = [segment("a", 6), segment("b", 3)]


def plan(name: str = "a", **changes: Any) -> tuple[PlannedSegment, ...]:
    planned = segment(name, 6)
    inside = {key: value for key, value in changes.items() if hasattr(planned.segment, key)}
    outside = {key: value for key, value in changes.items() if key not in inside}
    return (replace(planned, segment=replace(planned.segment, **inside), **outside),)


def batch(**changes: Any) -> tuple[ClipBatch, StageTimes]:
    clips = (ClipRef(0, 5), ClipRef(1, 0))
    return replace(ClipBatch(tuple(UNIT), clips, np.zeros((2, 2, 4, 4, 3), np.uint8)), **changes), StageTimes()


def test_what_was_asked_for_is_taken() -> None:
    assert are_plans([plan()], VIDEOS)
    assert are_plans([plan(), plan("b")], VIDEOS)
    assert are_plans([VideoError("unreadable", "noise")], VIDEOS)
    assert is_batch(batch(), UNIT, DECODE)
    nothing = batch(
        clips=(), pixels=np.zeros((0, 0, 0, 0, 3), np.uint8), failures=((ClipRef(1, 2), VideoError("timeout", "x")),)
    )
    assert is_batch(nothing, UNIT, DECODE)


@pytest.mark.parametrize(
    "plans",
    [
        None,
        (),
        [],
        [()],
        [plan(root="/")],
        [plan(), plan("b"), plan()],
        [plan("b")],
        [plan(location="/etc/shadow")],
        [plan(is_frame_folder=True)],
        [plan(index=1, count=2)],
        [plan(count=2)],
        [plan() * 2],
        [plan(frames=np.zeros((5, 2), np.int64))],
        [plan(frames=np.zeros((6, 0), np.int64), pts=np.zeros((6, 0), np.int64))],
        [plan(pts=np.zeros((6, 3), np.int64))],
        [plan(start_seconds=np.zeros((6, 1)))],
        [plan(truncated=np.zeros(5, np.bool_))],
        [plan(keyframe_pts=np.zeros((1, 1), np.int64))],
    ],
)
def test_plans_of_anything_else_are_not(plans: Any) -> None:
    assert not are_plans(plans, VIDEOS)


@pytest.mark.parametrize(
    "value",
    [
        None,
        batch()[0],
        (batch()[0], None),
        batch(segments=(segment("c", 6), UNIT[1])),
        batch(segments=(plan(index=-1)[0], UNIT[1])),
        batch(segments=(plan(index=1)[0], UNIT[1])),
        batch(segments=(UNIT[0],)),
        batch(clips=(ClipRef(0, 5), ClipRef(1, 3))),
        batch(clips=(ClipRef(0, -1), ClipRef(1, 0))),
        batch(clips=(ClipRef(-1, 0), ClipRef(1, 0))),
        batch(clips=(ClipRef(0, 0),)),
        batch(clips=(ClipRef(0, 0),) * 5, pixels=np.zeros((5, 2, 4, 4, 3), np.uint8)),
        batch(pixels=np.zeros((2, 2, 4, 5, 3), np.uint8)),
        batch(pixels=np.zeros((2, 3, 4, 4, 3), np.uint8)),
        batch(clips=(), pixels=np.zeros((2, 2, 4, 4, 3), np.uint8)),
        batch(failures=((ClipRef(0, 6), VideoError("timeout", "x")),)),
    ],
)
def test_clips_of_anything_else_are_not(value: Any) -> None:
    assert not is_batch(value, UNIT, DECODE)
